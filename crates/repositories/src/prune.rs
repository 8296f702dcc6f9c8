//! Removes copies, and gives back the room that nothing needs any more. Killed anywhere, what is listed is whole: a copy's name goes
//! first, what is moved together is written before the old goes, and what is left over goes with the next call.

use lap_base::error::{Error, Kind, OrError, Result};
use rustic_core::{
    LimitOption, PruneOptions,
    repofile::{SnapshotFile, SnapshotId},
};

use super::{
    file::Folder,
    lock::RepositoryLock,
    open::{Repository, guarded},
    recovery_bundle,
    snapshots::Copy,
};

/// What pruning gave back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Bytes of the data before and after.
    pub before: u64,
    pub after: u64,
}

impl Repository {
    /// Removes these copies from the list; their data stays until [`Self::prune`]. `_lock`: an exclusive one of this repository.
    ///
    /// # Errors
    /// One of them cannot be removed.
    pub fn forget(&self, copies: &[Copy], _lock: &RepositoryLock) -> Result<()> {
        let ids: Vec<SnapshotId> = copies
            .iter()
            .map(|copy| {
                copy.restic.parse().map_err(|_| Error::new(Kind::Other, format!("`{}` is not a name", copy.restic)))
            })
            .collect::<Result<_>>()?;
        guarded(&self.name, || self.inner.delete_snapshots(&ids))
    }

    /// Removes all sealed keys and workspaces but the newest: what is older belongs to states that are gone.
    ///
    /// # Errors
    /// One of them cannot be removed.
    pub fn forget_old_keys_and_workspaces(&self, _lock: &RepositoryLock) -> Result<()> {
        let files: Vec<SnapshotFile> = guarded(&self.name, || self.inner.get_all_snapshots())?;
        let mut gone = Vec::new();
        for tag in recovery_bundle::TAGS {
            let mut tagged: Vec<&SnapshotFile> = files.iter().filter(|file| file.tags.contains(tag)).collect();
            tagged.sort_by_key(|file| recovery_bundle::position(file));
            tagged.pop();
            gone.extend(tagged.into_iter().map(|file| file.id));
        }
        if gone.is_empty() {
            return Ok(());
        }
        guarded(&self.name, || self.inner.delete_snapshots(&gone))
    }

    /// Removes the data that no snapshot in it needs, whoever made that snapshot.
    ///
    /// # Errors
    /// Something cannot be read or written; all that is listed is whole nevertheless.
    pub fn prune(&self, _lock: &RepositoryLock) -> Result<Pruned> {
        let before = self.size()?;
        let mut options = PruneOptions::default();
        // Nobody else works on it, as the lock says; and restic does not know of packs that are only marked.
        options.instant_delete = true;
        // As restic: what is unused beyond a twentieth goes, however much has to be moved for that.
        options.max_repack = LimitOption::Unlimited;
        // A pack is moved to a new one as it is, still encrypted.
        options.fast_repack = true;
        guarded(&self.name, || {
            let plan = self.inner.prune_plan(&options)?;
            self.inner.prune(&options, plan)
        })?;
        Ok(Pruned { before, after: self.size()? })
    }

    fn size(&self) -> Result<u64> {
        let files = self.storage.list(Folder::Data).or_error(Kind::Host, || format!("cannot read `{}`", self.name))?;
        Ok(files.into_iter().map(|(_, size)| size).sum())
    }
}
