//! The snapshots of labs in a repository.

use lap_base::{
    error::{Error, Kind, Result},
    label::is_label,
};
use lap_snapshots::Id;
use rustic_core::repofile::SnapshotFile;
use serde::Serialize;

use super::{
    lock::RepositoryLock,
    open::{Repository, guarded},
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
    /// A person asked for this one by its name.
    pub asked: bool,
    /// It is in a repository that all environments share: that it is this environment's is known from its tag alone, which every
    /// node that copied there could write.
    pub shared: bool,
}

/// Somebody asked for it by its name.
const ASKED: &str = "lap-asked";

/// The tags of a copy, by which it is found again.
pub(super) fn tags(lab: &str, environment: &str, id: &Id, asked: bool) -> Vec<String> {
    let mut tags = vec!["lap".into(), format!("lap:{environment}"), format!("lap-id:{id}"), format!("lap-lab:{lab}")];
    tags.extend(asked.then(|| ASKED.to_owned()));
    tags
}

/// The name that a tag gives; `None`: there is no such tag, or what it gives is no name. Names become parts of paths and of
/// what is printed, and a node may write any tag.
pub(super) fn label(file: &SnapshotFile, prefix: &str) -> Option<String> {
    file.tags.iter().find_map(|tag| tag.strip_prefix(prefix)).filter(|name| is_label(name)).map(str::to_owned)
}

fn read(file: &SnapshotFile) -> Option<Copy> {
    let tag = |prefix: &str| file.tags.iter().find_map(|tag| tag.strip_prefix(prefix));
    Some(Copy {
        id: tag("lap-id:")?.parse().ok()?,
        lab: label(file, "lap-lab:")?,
        environment: label(file, "lap:")?,
        at: file.time.timestamp().as_second(),
        restic: file.id.to_hex().as_str().to_owned(),
        size: file.summary.as_ref().map(|summary| summary.total_bytes_processed),
        asked: file.tags.contains(ASKED),
        shared: false,
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
        all.sort_by(|a, b| (a.at, &a.id, !a.asked).cmp(&(b.at, &b.id, !b.asked)));
        // Two of one are there if [`Self::ask_for`] was killed.
        all.dedup_by(|a, b| (&a.lab, &a.environment, &a.id) == (&b.lab, &b.environment, &b.id));
        Ok(all)
    }

    /// Marks a copy as one that somebody asked for by its name. `_lock`: an exclusive one of this repository.
    ///
    /// # Errors
    /// It is gone, or its description cannot be written anew; then it is as it was.
    pub fn ask_for(&self, copy: &Copy, _lock: &RepositoryLock) -> Result<()> {
        let files: Vec<SnapshotFile> = guarded(&self.name, || self.inner.get_all_snapshots())?;
        let Some(mut file) = files.into_iter().find(|file| file.id.to_hex().as_str() == copy.restic) else {
            return Err(Error::new(Kind::Locked, format!("the copy {} in `{}` no longer exists", copy.id, self.name))
                .hint("run the same command to copy it again"));
        };
        let old = file.id;
        file.tags.add(ASKED.to_owned());
        // As restic does it: where it came from stays known.
        file.original.get_or_insert(old);
        // The new one first: killed in between, there are two, and none is lost.
        guarded(&self.name, || self.inner.save_snapshots(vec![file]))?;
        guarded(&self.name, || self.inner.delete_snapshots(&[old]))
    }

    /// Those of one environment.
    ///
    /// # Errors
    /// It cannot be read, or has copies of other labs only.
    pub fn copies_of(&self, lab: &str, environment: &str) -> Result<Vec<Copy>> {
        let all = self.copies()?;
        if let Some(other) = all.first().filter(|_| all.iter().all(|copy| copy.lab != lab)) {
            let message = format!("`{}` is the repository of another lab, `{}`", self.name, other.lab);
            return Err(Error::new(Kind::Refused, message).hint("each lab needs repositories of its own"));
        }
        Ok(all.into_iter().filter(|copy| copy.lab == lab && copy.environment == environment).collect())
    }
}
