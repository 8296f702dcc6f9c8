//! How many cuts are judged. `scripts/soak power` sets more, and goes on where it was stopped.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};

use super::campaign::{Found, copy_image};

pub struct Settings {
    pub seed: u64,
    /// Cuts that the seed chooses.
    pub prefixes: u64,
    /// Cuts right after a flush, at most.
    pub flushes: usize,
    /// The recovery from so many of the cuts is cut, too.
    pub again: usize,
    /// Of a soak: where the results are, and of which commit they are.
    soak: Option<(PathBuf, String)>,
}

#[derive(Serialize, Deserialize, PartialEq)]
struct Line {
    seed: u64,
    commit: String,
    operation: String,
    prefixes: u64,
    cuts: usize,
    second: usize,
    entries: usize,
}

impl Settings {
    /// From the environment; `scripts/soak` sets it.
    pub fn read() -> Self {
        let number = |key: &str| std::env::var(key).ok().and_then(|value| value.parse::<u64>().ok());
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_secs());
        let seed = number("LAP_SOAK_SEED").unwrap_or(clock);
        let Some(prefixes) = number("LAP_POWER_PREFIXES") else {
            return Self { seed, prefixes: 10, flushes: 10, again: 1, soak: None };
        };
        let directory = std::env::var_os("LAP_SOAK_DIR").map_or_else(|| root.join("target/soak"), PathBuf::from);
        let words = ["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty", "--abbrev=12"];
        let head = Command::new("git").args(words).output();
        let commit = head.map(|head| String::from_utf8_lossy(&head.stdout).trim().to_owned()).unwrap_or_default();
        Self { seed, prefixes, flushes: usize::MAX, again: 40, soak: Some((directory, commit)) }
    }

    /// For a control run: enough to find what is wrong, and no more.
    pub fn control() -> Self {
        Self { seed: 1, prefixes: 10, flushes: 30, again: 0, soak: None }
    }

    fn lines(&self) -> Vec<Line> {
        let Some((directory, commit)) = &self.soak else { return Vec::new() };
        let text = fs::read_to_string(directory.join("power.jsonl")).unwrap_or_default();
        let all = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        all.filter(|line| line.seed == self.seed && line.commit == *commit && line.prefixes == self.prefixes).collect()
    }

    /// A soak has done this one already.
    pub fn is_done(&self, operation: &str) -> bool {
        self.lines().iter().any(|line| line.operation == operation)
    }

    pub fn tell(&self, operation: &str, found: &Found) {
        let commit = self.soak.as_ref().map(|(_, commit)| format!(", commit {commit}")).unwrap_or_default();
        let Found { cuts, second, entries, faults } = found;
        eprintln!(
            "power {operation}: seed {}{commit}: {cuts} cuts of {entries} entries, {second} of recoveries, {} faults",
            self.seed,
            faults.len()
        );
    }

    /// Notes that a soak has done it.
    pub fn done(&self, operation: &str, found: &Found) {
        let Some((directory, commit)) = &self.soak else { return };
        fs::create_dir_all(directory).unwrap();
        let line = Line {
            seed: self.seed,
            commit: commit.clone(),
            operation: operation.to_owned(),
            prefixes: self.prefixes,
            cuts: found.cuts,
            second: found.second,
            entries: found.entries,
        };
        let mut file = OpenOptions::new().create(true).append(true).open(directory.join("power.jsonl")).unwrap();
        writeln!(file, "{}", serde_json::to_string(&line).unwrap()).unwrap();
    }

    /// Keeps what a cut left that must not be.
    pub fn keep(&self, operation: &str, image: &Path) {
        let Some((directory, _)) = &self.soak else { return };
        let _ = fs::create_dir_all(directory);
        copy_image(image, &directory.join(format!("power-{operation}-{}.img", self.seed)));
    }
}
