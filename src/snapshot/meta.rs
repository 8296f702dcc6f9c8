//! What is known of a snapshot, and which there are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Id, Pause, nested::Nested};
use crate::error::{Error, Kind, OrError, Result};

/// Why a snapshot was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Somebody asked for it.
    Asked,
    /// It is what a restore replaced.
    Replaced,
    /// The agent took it by itself.
    Scheduled,
    /// It came out of a repository.
    Fetched,
    /// It came from another environment, scrubbed.
    Brought,
    /// It is the data before a promotion or a roll-back: the way back from it.
    Release,
    /// It is what a release left that was taken back.
    Failed,
}

/// `meta.json` of a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    pub id: Id,
    /// Unix seconds.
    pub at: i64,
    pub reason: Reason,
    pub note: Option<String>,
    /// `anna@notebook`
    pub by: String,
    /// `state/current.json` of that moment: what ran.
    pub current: Option<serde_json::Value>,
    /// What taking it cost; `None`: it was not measured.
    #[serde(default)]
    pub pause: Option<Pause>,
    /// Subvolumes that containers made in their data.
    #[serde(default, skip_serializing_if = "Nested::is_empty")]
    pub nested: Nested,
}

/// `snapshots` in a pool.
pub fn directory(pool: &Path) -> PathBuf {
    pool.join("snapshots")
}

/// The subvolume of a snapshot.
pub fn data(pool: &Path, id: &Id) -> PathBuf {
    directory(pool).join(id.to_string()).join("data")
}

/// All whole ones, the oldest first. One whose `meta.json` cannot be read is no snapshot of ours.
///
/// # Errors
/// The directory cannot be read.
pub fn list(pool: &Path) -> Result<Vec<Meta>> {
    let directory = directory(pool);
    let what = || format!("cannot read `{}`", directory.display());
    let mut all = Vec::new();
    for entry in fs::read_dir(&directory).or_error(Kind::Node, what)? {
        let path = entry.or_error(Kind::Node, what)?.path();
        let meta = fs::read(path.join("meta.json")).ok().and_then(|text| serde_json::from_slice::<Meta>(&text).ok());
        let named = |meta: &Meta| path.file_name().is_some_and(|name| *name == *meta.id.to_string());
        all.extend(meta.filter(named));
    }
    all.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
    Ok(all)
}

/// The snapshot of this name; `latest` is the newest.
///
/// # Errors
/// There is none.
pub fn find(pool: &Path, name: &str) -> Result<Meta> {
    let all = list(pool)?;
    let found = match name {
        "latest" => all.last().cloned(),
        name => all.into_iter().find(|meta| meta.id.to_string() == name),
    };
    found.ok_or_else(|| {
        let why =
            if name == "latest" { "there is no snapshot yet".into() } else { format!("there is no snapshot `{name}`") };
        Error::new(Kind::Usage, why).hint("`lap snapshot list` shows them")
    })
}
