//! The rounds of a soak: their random numbers, their settings, and the file of results, so that a soak that was stopped goes on.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::live::lab::{Lab, run};

/// From the environment; `scripts/soak` sets them.
pub struct Settings {
    name: &'static str,
    pub seed: u64,
    pub rounds: u64,
    /// Processes that keep the machine busy.
    pub load: usize,
    /// Seconds within which it must be whole; `None`: the time is only noted.
    within: Option<f64>,
    directory: PathBuf,
    commit: String,
}

impl Settings {
    pub fn read(name: &'static str, rounds: u64) -> Self {
        let number = |key: &str| std::env::var(key).ok().and_then(|value| value.parse::<u64>().ok());
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let directory = std::env::var_os("LAP_SOAK_DIR").map_or_else(|| root.join("target/soak"), PathBuf::from);
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_secs());
        let head = run("git", &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty", "--abbrev=12"]);
        Self {
            name,
            seed: number("LAP_SOAK_SEED").unwrap_or(clock),
            rounds: number("LAP_SOAK_ROUNDS").unwrap_or(rounds),
            load: number("LAP_SOAK_LOAD").unwrap_or(0) as usize,
            within: number("LAP_SOAK_WITHIN").map(|seconds| seconds as f64),
            directory,
            commit: head.out.trim().to_owned(),
        }
    }

    pub fn tell(&self) {
        let (name, seed, commit, rounds) = (self.name, self.seed, &self.commit, self.rounds);
        eprintln!("soak {name}: seed {seed}, commit {commit}, {rounds} rounds, {} of them are done", self.next());
    }

    fn file(&self) -> PathBuf {
        self.directory.join(format!("{}.jsonl", self.name))
    }

    /// The results so far of this seed, at this commit.
    fn results(&self) -> Vec<Round> {
        let text = fs::read_to_string(self.file()).unwrap_or_default();
        let all = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        all.filter(|line| line.seed == self.seed && line.commit == self.commit).map(|line| line.round).collect()
    }

    /// The first round that was not played.
    pub fn next(&self) -> u64 {
        self.results().iter().map(|round| round.number + 1).max().unwrap_or(0)
    }

    /// Writes the result down; a round that failed ends the soak.
    pub fn done(&self, round: &Round) {
        fs::create_dir_all(&self.directory).unwrap();
        let line = Line { seed: self.seed, commit: self.commit.clone(), round: round.clone() };
        let mut file = OpenOptions::new().create(true).append(true).open(self.file()).unwrap();
        writeln!(file, "{}", serde_json::to_string(&line).unwrap()).unwrap();
        let logs = self.directory.join(format!("{}-{}-{}", self.name, self.seed, round.number));
        if let Some(text) = &round.logs {
            fs::write(&logs, text).unwrap();
        }
        let missed = if round.missed { ", the kill met nothing" } else { "" };
        eprintln!("  {} after {:.1} s{missed}", round.ended, round.seconds);
        let late = self.within.is_some_and(|most| round.seconds > most);
        let (seed, number) = (self.seed, round.number);
        assert!(
            round.logs.is_none() && !late,
            "round {number} of seed {seed} is {} after {:.1} s: {}",
            round.ended,
            round.seconds,
            round.logs.as_ref().map_or_else(String::new, |_| format!("`{}` says more", logs.display()))
        );
    }

    /// How many ended how, and the slowest.
    pub fn sum_up(&self) {
        let all = self.results();
        let count = |ended: &str| all.iter().filter(|round| round.ended == ended).count();
        let missed = all.iter().filter(|round| round.missed).count();
        let slowest = all.iter().map(|round| round.seconds).fold(0.0, f64::max);
        eprintln!(
            "soak {}: seed {}, commit {}: {} rounds, {} in the old state, {} in the new one, {} served, {} broken, {missed} kills met nothing; the slowest {slowest:.1} s",
            self.name,
            self.seed,
            self.commit,
            all.len(),
            count("old"),
            count("new"),
            count("served"),
            count("broken")
        );
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    seed: u64,
    commit: String,
    round: Round,
}

/// One round, and how it ended.
#[derive(Clone, Serialize, Deserialize)]
pub struct Round {
    pub number: u64,
    operation: String,
    victim: String,
    /// Empty: at any time.
    step: String,
    milliseconds: u64,
    /// `old`, `new` or `broken`.
    pub ended: String,
    /// What was to be killed did not run.
    #[serde(default)]
    pub missed: bool,
    /// From the return of what was killed until all was whole.
    pub seconds: f64,
    #[serde(skip)]
    logs: Option<String>,
}

impl Round {
    pub fn new(number: u64, operation: &str, victim: &str, step: &str, milliseconds: u64) -> Self {
        let (operation, victim, step) = (operation.to_owned(), victim.to_owned(), step.to_owned());
        Self {
            number,
            operation,
            victim,
            step,
            milliseconds,
            ended: String::new(),
            missed: false,
            seconds: 0.0,
            logs: None,
        }
    }

    pub fn tell(&self) {
        let Self { number, operation, victim, step, milliseconds, .. } = self;
        let after = if step.is_empty() { "its begin".to_owned() } else { format!("the step `{step}`") };
        eprintln!("round {number}: {operation}, {victim} is killed {milliseconds} ms after {after}");
    }

    /// What is needed to find out why.
    pub fn keep_logs(&mut self, lab: &Lab, why: &str) {
        self.keep_logs_of(lab, "prod", why);
    }

    /// The same of this environment's node, which has the environment's name.
    pub fn keep_logs_of(&mut self, lab: &Lab, environment: &str, why: &str) {
        let node = lab.node(environment);
        let log = run("docker", &["logs", "--tail", "200", &node]);
        let state = lab.on_node(
            environment,
            &[
                "sh",
                "-c",
                "docker ps -a; cd /var/lib/lap/pool/state; ls -la . ..; cat switch.json restore.json; tail -n 40 journal.jsonl; \
                 ps -e -o pid,ppid,lstart,args; tail -n 60 /var/log/dockerd.log",
            ],
        );
        let status = lab.lap(&["status", environment]);
        self.logs = Some(format!(
            "{why}\n\n{}\n{}\n\n{}\n{}\n\n{}\n{}",
            status.out, status.err, log.out, log.err, state.out, state.err
        ));
    }
}

/// Keeps the machine busy as long as it lives.
pub struct Load(Vec<Child>);

impl Load {
    pub fn begin(count: usize) -> Self {
        let busy = || {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
            command.spawn().unwrap()
        };
        Self((0..count).map(|_| busy()).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
