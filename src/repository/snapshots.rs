//! The snapshots of labs in a repository.

use rustic_core::repofile::SnapshotFile;
use serde::Serialize;

use super::{Repository, open::guarded};
use crate::{
    error::{Error, Kind, Result},
    snapshot::Id,
};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Copy {
    pub id: Id,
    pub lab: String,
    pub environment: String,
    /// Unix seconds.
    pub at: i64,
    /// What restic calls it, in full.
    pub restic: String,
    /// Bytes of all files.
    pub size: Option<u64>,
    /// Somebody asked for this one by its name.
    pub asked: bool,
}

/// Somebody asked for it by its name.
const ASKED: &str = "lap-asked";

/// The tags of a copy, by which it is found again.
pub(super) fn tags(lab: &str, environment: &str, id: &Id, asked: bool) -> Vec<String> {
    let mut tags = vec!["lap".into(), format!("lap:{environment}"), format!("lap-id:{id}"), format!("lap-lab:{lab}")];
    tags.extend(asked.then(|| ASKED.to_owned()));
    tags
}

fn read(file: &SnapshotFile) -> Option<Copy> {
    let tag = |prefix: &str| file.tags.iter().find_map(|tag| tag.strip_prefix(prefix)).map(str::to_owned);
    Some(Copy {
        id: tag("lap-id:")?.parse().ok()?,
        lab: tag("lap-lab:")?,
        environment: tag("lap:")?,
        at: file.time.timestamp().as_second(),
        restic: file.id.to_hex().as_str().to_owned(),
        size: file.summary.as_ref().map(|summary| summary.total_bytes_processed),
        asked: file.tags.contains(ASKED),
    })
}

impl Repository {
    /// All copies that labs have in it, the oldest first.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn copies(&self) -> Result<Vec<Copy>> {
        let files = guarded(&self.name, || self.inner.get_all_snapshots())?;
        let mut all: Vec<Copy> = files.iter().filter_map(read).collect();
        all.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        Ok(all)
    }

    /// Those of one environment.
    ///
    /// # Errors
    /// It cannot be read, or has copies of other labs only.
    pub fn copies_of(&self, lab: &str, environment: &str) -> Result<Vec<Copy>> {
        let all = self.copies()?;
        if let Some(other) = all.first().filter(|_| all.iter().all(|copy| copy.lab != lab)) {
            let message = format!("`{}` is the repository of another lab, `{}`", self.name, other.lab);
            return Err(Error::new(Kind::Refused, message).hint("each lab has repositories of its own"));
        }
        Ok(all.into_iter().filter(|copy| copy.lab == lab && copy.environment == environment).collect())
    }

    /// One of them; `latest` is the newest.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn find(&self, lab: &str, environment: &str, name: &str) -> Result<Copy> {
        let all = self.copies_of(lab, environment)?;
        let found = match name {
            "latest" => all.last(),
            name => all.iter().find(|copy| copy.id.to_string() == name),
        };
        found.cloned().ok_or_else(|| {
            let what = if name == "latest" { "no snapshot".to_owned() } else { format!("no snapshot `{name}`") };
            Error::new(Kind::Usage, format!("`{}` has {what} of `{environment}`", self.name))
                .hint("`lap snapshot list --from REPOSITORY` shows them")
        })
    }
}
