//! The descriptions of snapshots, and the list of all snapshots.

use std::path::{Path, PathBuf};

use lap_base::{
    error::{Error, Kind, Result},
    state::{self, State, Unreadable},
};
use serde::{Deserialize, Serialize};

use super::{
    id::Id,
    nested::list::Nested,
    order::{Order, SnapshotCounter, key},
    pause::Pause,
};

/// The reason for a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// A user asked for it.
    Asked,
    /// It contains the data that a restore replaced.
    Replaced,
    /// The agent took it automatically.
    Scheduled,
    /// It was fetched from a repository.
    Fetched,
    /// It came from another environment and was scrubbed.
    Brought,
    /// It contains the data before a promotion or a rollback, for the way back.
    Release,
    /// It contains the data of a release that was taken back.
    Failed,
}

/// The content of a snapshot's `meta.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    pub id: Id,
    /// The time of the snapshot in Unix seconds, by the clock of the node. It is for people only.
    pub at: i64,
    pub reason: Reason,
    pub note: Option<String>,
    /// The user and the machine, for example `anna@notebook`.
    pub by: String,
    /// The content of `state/current.json` at that time, which records what ran. It is `{"unreadable": …}` if the file
    /// could not be read.
    pub current: Option<serde_json::Value>,
    /// The time that writers had to wait, or `None` if it was not measured.
    #[serde(default)]
    pub pause: Option<Pause>,
    /// The position in the order of snapshots, or `None` if an earlier version took the snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// The subvolumes that containers made in their data.
    #[serde(default, skip_serializing_if = "Nested::is_empty")]
    pub nested: Nested,
}

/// Returns the directory `snapshots` of a pool.
pub fn directory(pool: &Path) -> PathBuf {
    pool.join("snapshots")
}

/// Returns the path of a snapshot's data.
pub fn data(pool: &Path, id: &Id) -> PathBuf {
    directory(pool).join(id.to_string()).join("data")
}

/// A snapshot with an unreadable description. Its data exists, but it is not known what else it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damaged {
    pub id: Id,
    pub why: Unreadable,
    /// It may be newer than each snapshot that can be read.
    #[serde(default = "yes")]
    pub may_be_newest: bool,
}

/// An earlier agent does not say it.
fn yes() -> bool {
    true
}

impl Damaged {
    fn new(id: &Id, why: Unreadable) -> Self {
        let hint = format!("run `lap snapshot rm {id}` to remove the snapshot, if it has a copy or you do not need it");
        Self { id: id.clone(), why: why.hint(hint), may_be_newest: true }
    }
}

/// Returns all snapshots with a readable description, the oldest first.
///
/// # Errors
/// The directory cannot be read.
pub fn list(pool: &Path) -> Result<Vec<Meta>> {
    all(pool).map(|(list, _)| list)
}

/// Returns all snapshots, and those with an unreadable description.
///
/// # Errors
/// The directory cannot be read.
pub fn all(pool: &Path) -> Result<(Vec<Meta>, Vec<Damaged>)> {
    let directory = directory(pool);
    let names = state::names(&directory).value_or_refuse()?.unwrap_or_default();
    let (mut list, mut damaged) = (Vec::new(), Vec::new());
    for id in names.iter().filter_map(|name| name.parse::<Id>().ok()) {
        let path = directory.join(id.to_string()).join("meta.json");
        let why = match state::json::<Meta>(&path) {
            State::Value(meta) if meta.id == id => {
                list.push(meta);
                continue;
            }
            State::Value(meta) => Unreadable::new(path, format!("it describes another snapshot ({})", meta.id)),
            State::Absent => Unreadable::new(path, "the file is missing"),
            State::Unreadable(why) => why,
        };
        damaged.push(Damaged::new(&id, why));
    }
    let counter = SnapshotCounter::known(pool);
    list.sort_by_cached_key(|meta| key(meta.order.as_ref(), meta.at, &meta.id, counter.as_ref()));
    for damaged in &mut damaged {
        damaged.may_be_newest = list.last().is_none_or(|newest| may_be_newer(&damaged.id, newest, counter.as_ref()));
    }
    Ok((list, damaged))
}

/// Whether a snapshot whose description cannot be read may be newer than `newest`. Where no counter knows both, their names say it.
fn may_be_newer(id: &Id, newest: &Meta, counter: Option<&SnapshotCounter>) -> bool {
    let known = counter.and_then(|counter| {
        let own = counter.of(id)?;
        // All that is not of this line is older.
        Some(newest.order.as_ref().filter(|order| order.line == counter.line).is_none_or(|newest| own > newest.count))
    });
    known.unwrap_or(*id > newest.id)
}

/// Checks that no snapshot with an unreadable description is newer than `newest`.
///
/// # Errors
/// The description of a newer snapshot is unreadable.
pub fn none_newer(damaged: &[Damaged]) -> Result<()> {
    match damaged.iter().rfind(|damaged| damaged.may_be_newest) {
        None => Ok(()),
        Some(damaged) => {
            Err(Error::from(damaged.why.clone()).hint("name an older one: `lap snapshot list` shows them"))
        }
    }
}

/// Returns the snapshot with this name. `latest` is the newest one.
///
/// # Errors
/// The snapshot does not exist, or its description is unreadable. In the second case `latest` does not select an older
/// one.
pub fn find(pool: &Path, name: &str) -> Result<Meta> {
    let (all, damaged) = all(pool)?;
    let found = match name {
        "latest" => {
            none_newer(&damaged)?;
            all.last().cloned()
        }
        name => {
            if let Some(damaged) = damaged.iter().find(|damaged| damaged.id.to_string() == name) {
                return Err(damaged.why.clone().into());
            }
            all.into_iter().find(|meta| meta.id.to_string() == name)
        }
    };
    found.ok_or_else(|| {
        let why =
            if name == "latest" { "there is no snapshot yet".into() } else { format!("there is no snapshot `{name}`") };
        Error::new(Kind::Usage, why).hint("`lap snapshot list` shows them")
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::nested::list::Nested;

    fn meta(id: &str) -> Meta {
        Meta {
            id: id.parse().unwrap(),
            at: 5,
            reason: Reason::Asked,
            note: None,
            by: "a@b".into(),
            current: None,
            pause: None,
            order: None,
            nested: Nested::default(),
        }
    }

    #[test]
    fn a_snapshot_with_an_unreadable_description_is_listed() {
        let pool = tempfile::tempdir().unwrap();
        assert!(all(pool.path()).is_err() || all(pool.path()).unwrap().0.is_empty());
        let ids = ["20261121-120001", "20261121-120002", "20261121-120003", "20261121-120004"];
        for id in ids {
            let place = directory(pool.path()).join(id);
            fs::create_dir_all(&place).unwrap();
            fs::write(place.join("meta.json"), serde_json::to_vec(&meta(id)).unwrap()).unwrap();
        }
        fs::create_dir(directory(pool.path()).join(".new-20261121-120005")).unwrap();
        let file = |id: &str| directory(pool.path()).join(id).join("meta.json");
        fs::write(file(ids[0]), "{").unwrap();
        fs::remove_file(file(ids[2])).unwrap();
        let (list, damaged) = all(pool.path()).unwrap();
        let names = |ids: &[&str]| ids.iter().map(|id| id.parse::<Id>().unwrap()).collect::<Vec<_>>();
        assert_eq!(list.iter().map(|meta| meta.id.clone()).collect::<Vec<_>>(), names(&[ids[1], ids[3]]));
        assert_eq!(damaged.iter().map(|damaged| damaged.id.clone()).collect::<Vec<_>>(), names(&[ids[0], ids[2]]));
        assert_eq!(find(pool.path(), "latest").unwrap().id.to_string(), ids[3]);
        assert_eq!(find(pool.path(), ids[0]).unwrap_err().kind, Kind::Refused);
        assert_eq!(find(pool.path(), "20261121-120009").unwrap_err().kind, Kind::Usage);
        // The description of another snapshot is not accepted.
        fs::copy(file(ids[1]), file(ids[3])).unwrap();
        let error = find(pool.path(), "latest").unwrap_err();
        assert!(error.message.contains("it describes another snapshot"), "{error}");
    }
}
