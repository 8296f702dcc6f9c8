//! What the agent does by itself: `snapshot.json` that `lap up` brought. While that file cannot be read, snapshots are taken by the last
//! policy that could be read, and none is removed.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use lap_base::{
    error::{Error, Result},
    state::{self, State, Unreadable},
};
use lap_snapshots::keep::{Keep, SnapshotPolicy};

use crate::wire::paths;

/// The last one that could be read.
static KNOWN: Mutex<Option<SnapshotPolicy>> = Mutex::new(None);

fn path() -> PathBuf {
    Path::new(paths::POLICY).join("snapshot.json")
}

fn read(directory: &Path) -> State<SnapshotPolicy> {
    state::json_in(directory, "snapshot.json")
}

/// The policy that goes on, since when it is there (unix seconds), and why its file cannot be read.
pub fn current() -> (SnapshotPolicy, i64, Option<Unreadable>) {
    let since = fs::metadata(path()).map_or(0, |file| file.mtime());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let (policy, unreadable) = goes_on(read(Path::new(paths::POLICY)), &mut known);
    (policy, since, unreadable)
}

fn goes_on(read: State<SnapshotPolicy>, known: &mut Option<SnapshotPolicy>) -> (SnapshotPolicy, Option<Unreadable>) {
    match read {
        State::Unreadable(unreadable) => {
            let hint = "the node removes no snapshots until it can read the file: run `lap up` on an operator's machine to write it again";
            (known.clone().unwrap_or_default(), Some(unreadable.hint(hint)))
        }
        other => {
            let policy = match other {
                State::Value(policy) => policy,
                _ => SnapshotPolicy::default(),
            };
            *known = Some(policy.clone());
            (policy, None)
        }
    }
}

/// What of the snapshots is to be kept; `None`: all of them.
///
/// # Errors
/// The policy cannot be read: nothing is removed by one that was.
pub fn keep() -> Result<Option<Keep>> {
    match current() {
        (_, _, Some(unreadable)) => Err(Error::from(unreadable)),
        (policy, ..) => Ok(policy.keep),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_policy_goes_on_while_its_file_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut known = None;
        let place = dir.path().join("policy");
        assert_eq!(goes_on(read(&place), &mut known), (SnapshotPolicy::default(), None), "no policy yet");
        fs::create_dir(&place).unwrap();
        assert_eq!(goes_on(read(&place), &mut known), (SnapshotPolicy::default(), None));
        let policy = SnapshotPolicy { every: Some(900), keep: Some(Keep { last: 3, ..Keep::default() }) };
        let text = serde_json::to_string(&policy).unwrap();
        fs::write(place.join("snapshot.json"), &text).unwrap();
        assert_eq!(goes_on(read(&place), &mut known), (policy.clone(), None));
        for bad in ["", &text[..text.len() / 2], r#"{"every": "900"}"#] {
            fs::write(place.join("snapshot.json"), bad).unwrap();
            let (goes_on, unreadable) = goes_on(read(&place), &mut known);
            assert_eq!(goes_on, policy, "{bad}");
            assert!(unreadable.unwrap().hints[0].contains("lap up"));
        }
    }
}
