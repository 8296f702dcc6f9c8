//! What the environment runs, as its state says: `current.json`, the files in `releases/` and the ledger, judged together. A release that
//! ran leaves a trace in each of them, so `current.json` is absent only where none of them knows of a release.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use lap_base::state::{self, State, Unreadable};

use crate::{
    agent::system::node_config::read_config,
    release::{self, manifest::ReleaseManifest},
    wire::paths,
};

/// All of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub current: State<ReleaseManifest>,
    pub releases: BTreeMap<u64, State<ReleaseManifest>>,
    /// The entries of the ledger that can be read.
    pub ledger: Vec<release::LedgerEntry>,
    /// Hash of the ledger's newest entry, or why the chain is broken.
    pub chain: Result<String, Unreadable>,
    /// `releases/` itself, if it cannot be read.
    pub directory: Option<Unreadable>,
}

/// `state/current.json`
pub fn path(state: &Path) -> PathBuf {
    state.join("current.json")
}

/// `state/ledger.jsonl`
pub fn ledger(state: &Path) -> PathBuf {
    state.join("ledger.jsonl")
}

/// What this node runs.
pub fn current() -> State<ReleaseManifest> {
    read(Path::new(paths::STATE)).current
}

/// What runs, for the description of a snapshot. A record that cannot be read is described as that: a snapshot is taken all the same,
/// and nobody may take it for one of a node where nothing ran.
pub fn described() -> Option<serde_json::Value> {
    describe(current())
}

/// The same for what was read before.
pub fn describe(current: State<ReleaseManifest>) -> Option<serde_json::Value> {
    match current {
        State::Absent => None,
        State::Value(current) => Some(serde_json::json!(current)),
        State::Unreadable(unreadable) => Some(serde_json::json!({ "unreadable": unreadable.sentence() })),
    }
}

/// Reads all of it below `state`.
pub fn read(state: &Path) -> Recorded {
    let (releases, directory) = releases(&state.join("releases"));
    let path = ledger(state);
    let (ledger, chain) = release::read_all(&path);
    let known = last(&releases, &ledger);
    let traces = known.map(|number| format!("release {number} ran"));
    let traces = traces.or_else(|| chain.as_ref().err().or(directory.as_ref()).map(Unreadable::sentence));
    let current = match (state::json(&self::path(state)), traces) {
        (State::Absent, Some(traces)) => State::Unreadable(Unreadable {
            is_gone: true,
            ..Unreadable::new(self::path(state), format!("the file is missing, although {traces}"))
        }),
        (current, _) => current,
    };
    Recorded { current: current.hint(way_back(known.is_some())), releases, ledger, chain, directory }
}

/// The files in `releases/`, and why the directory cannot be read.
fn releases(directory: &Path) -> (BTreeMap<u64, State<ReleaseManifest>>, Option<Unreadable>) {
    let (names, unreadable) = state::names(directory).value_and_complaint();
    let number = |name: &String| name.strip_suffix(".json")?.parse::<u64>().ok();
    let numbers = names.iter().flatten().filter_map(number);
    (numbers.map(|number| (number, state::json(&directory.join(format!("{number}.json"))))).collect(), unreadable)
}

/// The highest number that is known.
fn last(releases: &BTreeMap<u64, State<ReleaseManifest>>, ledger: &[release::LedgerEntry]) -> Option<u64> {
    releases.keys().copied().chain(ledger.iter().map(|entry| entry.release)).max()
}

impl Recorded {
    /// A number that no release had: not one whose file cannot be read, and not one that was taken back.
    pub fn next_number(&self) -> u64 {
        let runs = match &self.current {
            State::Value(current) => current.release,
            _ => None,
        };
        last(&self.releases, &self.ledger).max(runs).unwrap_or(0).saturating_add(1)
    }

    /// Every file of it that cannot be read.
    pub fn unreadable(&self) -> Vec<Unreadable> {
        let hint = |number: &u64| {
            format!(
                "a rollback to release {number} is not possible; if it runs, `lap release record {number}` writes the file again"
            )
        };
        let releases =
            self.releases.iter().filter_map(|(number, release)| Some(release.unreadable()?.clone().hint(hint(number))));
        let mut all: Vec<Unreadable> = self.current.unreadable().cloned().into_iter().collect();
        all.extend(self.directory.clone());
        all.extend(releases);
        all.extend(self.chain.as_ref().err().cloned());
        all
    }
}

/// What writes `current.json` anew.
fn way_back(has_releases: bool) -> String {
    let environment = read_config().map_or_else(|_| "ENVIRONMENT".to_owned(), |config| config.environment);
    if has_releases {
        format!("`lap release record --env {environment}` writes it again from the running release")
    } else {
        format!("`lap up {environment}` on an operator's machine writes it again from the working tree")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::release::tests::entry;

    fn current(release: u64) -> ReleaseManifest {
        let text = format!(
            r#"{{"commit": "c{release}", "release": {release}, "env": "e", "containers": {{}}, "images": {{}}, "by": "a@b", "at": 5}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn json(release: u64) -> String {
        serde_json::to_string_pretty(&current(release)).unwrap()
    }

    /// A state directory in which release 4 runs; the ledger has an entry of it.
    fn state() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("releases")).unwrap();
        fs::write(dir.path().join("current.json"), json(4)).unwrap();
        fs::write(dir.path().join("releases/3.json"), json(3)).unwrap();
        fs::write(dir.path().join("releases/4.json"), json(4)).unwrap();
        release::append(&ledger(dir.path()), entry(4)).unwrap();
        dir
    }

    #[test]
    fn absent_is_what_file_releases_and_ledger_agree_on() {
        let dir = tempfile::tempdir().unwrap();
        let found = read(dir.path());
        assert_eq!((&found.current, found.next_number(), found.unreadable()), (&State::Absent, 1, Vec::new()));
        let dir = state();
        let found = read(dir.path());
        assert_eq!(
            (&found.current, found.next_number(), found.unreadable()),
            (&State::Value(current(4)), 5, Vec::new())
        );
        fs::remove_file(path(dir.path())).unwrap();
        for remove in ["releases/4.json", "releases/3.json", "ledger.jsonl"] {
            let found = read(dir.path()).current;
            let unreadable = found.unreadable().unwrap_or_else(|| panic!("before {remove}: {found:?}"));
            assert!(
                unreadable.is_gone && unreadable.reason.contains("the file is missing, although release"),
                "{unreadable:?}"
            );
            assert!(unreadable.hints[0].contains("lap release record"), "{unreadable:?}");
            fs::remove_file(dir.path().join(remove)).unwrap();
        }
        assert_eq!(read(dir.path()).current, State::Absent);
        // A ledger or a directory that cannot be read may know of a release.
        fs::write(ledger(dir.path()), "x\n").unwrap();
        assert!(read(dir.path()).current.unreadable().is_some_and(|found| found.is_gone));
        fs::remove_file(ledger(dir.path())).unwrap();
        fs::remove_dir(dir.path().join("releases")).unwrap();
        fs::write(dir.path().join("releases"), "").unwrap();
        assert!(read(dir.path()).current.unreadable().is_some_and(|found| found.is_gone));
    }

    #[test]
    fn a_damaged_record_is_not_nothing() {
        let dir = state();
        let good = json(4);
        for bad in [&good[..good.len() / 2], "", "null", &good.replace("\"release\": 4", "\"release\": \"5\"")] {
            fs::write(path(dir.path()), bad).unwrap();
            let found = read(dir.path());
            let unreadable = found.current.unreadable().unwrap_or_else(|| panic!("{bad}"));
            assert!(!unreadable.is_gone && unreadable.path == path(dir.path()), "{unreadable:?}");
            assert_eq!((found.next_number(), found.unreadable().len()), (5, 1));
            let described = describe(found.current).unwrap();
            assert!(
                serde_json::from_value::<ReleaseManifest>(described).is_err(),
                "a snapshot of it is not one of nothing"
            );
        }
    }

    /// A cut release is listed, and its number is not given out again.
    #[test]
    fn a_cut_release_is_listed_and_its_number_taken() {
        let dir = state();
        fs::write(dir.path().join("releases/6.json"), &json(6)[..20]).unwrap();
        let found = read(dir.path());
        assert!(found.releases[&6].unreadable().is_some() && found.releases[&4].unreadable().is_none());
        assert_eq!((found.next_number(), found.unreadable().len()), (7, 1));
        assert!(found.unreadable()[0].path.ends_with("releases/6.json"));
    }

    #[test]
    fn a_damaged_ledger_shows_what_can_be_read() {
        let dir = state();
        let good = fs::read_to_string(ledger(dir.path())).unwrap();
        fs::write(ledger(dir.path()), format!("{good}{{\"number\": \"x\"}}\n")).unwrap();
        let found = read(dir.path());
        assert_eq!((found.ledger.len(), found.unreadable().len()), (1, 1));
        assert!(found.unreadable()[0].path.ends_with("ledger.jsonl"));
        assert_eq!(found.current, State::Value(current(4)), "what runs is known all the same");
    }
}
