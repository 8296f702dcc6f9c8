//! Random kills of lap, the agent, Docker and the node in the middle of what changes an environment. Without a second command it is whole
//! again: in the old state or the new one, never between. `scripts/soak kills` plays many rounds of it, the tests play ten.

pub mod rounds;
mod whole;

use std::{
    collections::BTreeMap,
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    attack,
    lab::{Lab, Ran, run, until_or},
    promote::{prod, steps},
};
use crate::random::Random;
use rounds::{Load, Round, Settings};
use whole::{State, both, version, write_version};

/// What is done to production.
const OPERATIONS: [&str; 4] = ["promote", "rollback", "restore", "up"];
/// Who is killed.
const VICTIMS: [&str; 4] = ["lap", "agent", "docker", "node"];

#[test]
fn kills() {
    let settings = Settings::read("kills", 10);
    settings.tell();
    let _load = Load::begin(settings.load);
    let lab = both("soak-kills");
    let mut soak = Soak { lab, mark: 0, promoting: Vec::new(), restoring: Vec::new(), took: BTreeMap::new() };
    soak.begin();
    for number in settings.next()..settings.rounds {
        let mut random = Random::new(settings.seed, number);
        let round = soak.round(&mut random, number);
        settings.done(&round);
    }
    settings.sum_up();
}

/// One hostile container does everything at once, and the others are served.
#[test]
fn hostile() {
    let settings = Settings::read("hostile", 1);
    settings.tell();
    let _load = Load::begin(settings.load);
    let lab = attack::lab("soak-hostile");
    for number in settings.next()..settings.rounds {
        let mut round = Round::new(number, "attack", "", "", 0);
        eprintln!("round {number}: attack");
        match attack::play(&lab, &mut Random::new(settings.seed, number)) {
            Ok(served) => {
                let (slowest, frozen) = (served.slowest.as_secs_f64(), served.frozen.as_secs_f64());
                eprintln!(
                    "  {} answers, the slowest after {slowest:.1} s; frozen {frozen:.1} s after the disk was full",
                    served.answers
                );
                (round.ended, round.seconds) = ("served".into(), frozen);
                attack::mend(&lab);
            }
            Err(why) => {
                round.ended = "broken".into();
                round.keep_logs_of(&lab, "test", &why);
            }
        }
        settings.done(&round);
    }
    settings.sum_up();
}

struct Soak {
    lab: Lab,
    /// Counts what is written into the data of the container that never changes.
    mark: u64,
    /// The steps of a promotion, and of a restore, as an undisturbed one told them.
    promoting: Vec<String>,
    restoring: Vec<String>,
    /// How long each operation took then, in milliseconds.
    took: BTreeMap<&'static str, u64>,
}

/// One operation that was begun.
struct Begun {
    child: Child,
    /// Both are right.
    old: State,
    new: State,
}

impl Soak {
    /// Both environments run, and each operation was done once without a kill.
    fn begin(&mut self) {
        self.lab.lap(&["up", "--all"]).ok();
        let mut random = Random::new(0, 0);
        for operation in OPERATIONS {
            let begun = self.operation(operation, &mut random);
            let since = Instant::now();
            Ran::of(&begun.child.wait_with_output().unwrap()).ok();
            self.took.insert(operation, since.elapsed().as_millis() as u64);
            whole::until_whole(&self.lab, &[&begun.new]).unwrap();
            match operation {
                "promote" => self.promoting = steps(&self.lab),
                "restore" => self.restoring = steps(&self.lab),
                _ => {}
            }
        }
        assert!(self.promoting.len() > 8 && self.restoring.len() > 5, "{:?} {:?}", self.promoting, self.restoring);
    }

    fn round(&mut self, random: &mut Random, number: u64) -> Round {
        let (operation, victim) = (OPERATIONS[random.below(4) as usize], random.of(&VICTIMS));
        // Half of them at a step, half of them at any time.
        let at = match operation {
            "promote" | "rollback" => random.of(&self.promoting).to_owned(),
            "restore" => random.of(&self.restoring).to_owned(),
            _ => String::new(),
        };
        let at = if random.below(2) == 0 { String::new() } else { at };
        let delay = random.below(if at.is_empty() { self.took[operation] } else { 800 });
        let mut round = Round::new(number, operation, victim, &at, delay);
        round.tell();
        let begun = if at.is_empty() {
            self.operation(operation, random)
        } else {
            self.prepare_pause(&at);
            let mut begun = self.operation(operation, random);
            self.pass_pause(&mut begun.child);
            begun
        };
        sleep(Duration::from_millis(delay));
        self.end(begun, victim, &mut round);
        round
    }

    /// The agent waits before this step, which not every switch has.
    fn prepare_pause(&self, step: &str) {
        prod(&self.lab, &format!("rm -f /run/lap/reached; echo 'pause {step}' >/run/lap/die-at"));
    }

    /// Lets it go on from there.
    fn pass_pause(&self, child: &mut Child) {
        until_or(
            || {
                self.lab.on_node("prod", &["test", "-e", "/run/lap/reached"]).code == 0
                    || child.try_wait().unwrap().is_some()
            },
            || "neither the step nor the end came".into(),
        );
        prod(&self.lab, "rm -f /run/lap/reached /run/lap/die-at");
    }

    /// Prepares it, and begins it.
    fn operation(&mut self, operation: &str, random: &mut Random) -> Begun {
        let lab = &self.lab;
        let old = State::look(lab).expect("it is whole before the round");
        let mut new = old.clone();
        // A roll-back needs a release to go back to: the one before.
        let arguments: Vec<String> = match operation {
            "promote" => {
                new.version = version(&old.version, random.below(1000));
                write_version(lab, &new.version);
                lab.lap(&["up", "--wait"]).ok();
                ["promote", "--yes", "--wait", "--settle", "1s"].map(str::to_owned).into()
            }
            "rollback" => {
                let Some((number, version)) = whole::before(lab) else { return self.operation("promote", random) };
                new.version = version;
                ["rollback", &number.to_string(), "--yes", "--wait", "--settle", "1s"].map(str::to_owned).into()
            }
            "restore" => {
                lab.lap(&["snapshot", "prod", "--wait"]).ok();
                let id = whole::newest_snapshot(lab);
                self.mark += 1;
                prod(lab, &format!("echo {} >/data/one/mark && sync", self.mark));
                let after = State::look(lab).expect("it is whole before the restore");
                let arguments = ["restore", "--yes", &id, "prod", "--wait"].map(str::to_owned).into();
                return self.spawn(arguments, after, old);
            }
            _ => ["up", "prod", "--wait"].map(str::to_owned).into(),
        };
        self.spawn(arguments, old, new)
    }

    fn spawn(&self, arguments: Vec<String>, old: State, new: State) -> Begun {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = self.lab.command(&arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Begun { child, old, new }
    }

    /// Kills, and waits until all is whole.
    fn end(&self, mut begun: Begun, victim: &str, round: &mut Round) {
        let node = self.lab.node("prod");
        // `lap` may have ended before, and the agent may just start Docker again.
        round.missed = match victim {
            "lap" => {
                let ended = begun.child.try_wait().unwrap().is_some();
                begun.child.kill().unwrap();
                ended
            }
            "agent" => self.lab.on_node("prod", &["pkill", "-9", "-f", "lap agent run"]).code != 0,
            "docker" => self.lab.on_node("prod", &["pkill", "-9", "-x", "dockerd"]).code != 0,
            _ => {
                run("docker", &["kill", &node]).ok();
                run("docker", &["start", &node]).ok();
                false
            }
        };
        let returned = Instant::now();
        let ended = whole::until_whole(&self.lab, &[&begun.old, &begun.new]);
        round.seconds = returned.elapsed().as_secs_f64();
        // It may still look for what it asked for; nothing depends on it any more.
        let _ = begun.child.kill();
        let said = begun.child.wait_with_output().unwrap();
        match ended {
            Ok(state) => round.ended = if state == begun.new { "new" } else { "old" }.into(),
            Err(why) => {
                round.ended = "broken".into();
                let said = String::from_utf8_lossy(&said.stderr).into_owned();
                round.keep_logs(&self.lab, &format!("{why}\n\n{:#?}\n{:#?}\n\n{said}", begun.old, begun.new));
            }
        }
    }
}
