//! Removes copies, and frees the space that is no longer needed. After a kill at any point, every listed copy is
//! complete: the name of a copy is removed first, data that moves is written before the old data is removed, and the
//! next call removes the rest.

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

/// The size of the data before and after a prune.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The size of the data in bytes, before and after.
    pub before: u64,
    pub after: u64,
}

impl Repository {
    /// Removes these copies from the list. Their data remains until [`Self::prune`]. `_lock` must be an exclusive lock
    /// of this repository.
    ///
    /// # Errors
    /// A copy cannot be removed.
    pub fn forget(&self, copies: &[Copy], _lock: &RepositoryLock) -> Result<()> {
        let ids: Vec<SnapshotId> = copies
            .iter()
            .map(|copy| {
                copy.restic.parse().map_err(|_| Error::new(Kind::Other, format!("`{}` is not a name", copy.restic)))
            })
            .collect::<Result<_>>()?;
        guarded(&self.name, || self.inner.delete_snapshots(&ids))
    }

    /// Removes all sealed keys and workspaces except the newest ones. Older ones belong to earlier states.
    ///
    /// # Errors
    /// A file cannot be removed.
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

    /// Removes the data that no snapshot needs, whichever program made the snapshot.
    ///
    /// # Errors
    /// A file cannot be read or written. All listed snapshots are complete nevertheless.
    pub fn prune(&self, _lock: &RepositoryLock) -> Result<Pruned> {
        let before = self.size()?;
        let mut options = PruneOptions::default();
        // The lock excludes other programs. restic does not know packs that are only marked for removal.
        options.instant_delete = true;
        // Like restic, this removes unused data above five percent, however much data must be moved.
        options.max_repack = LimitOption::Unlimited;
        // A pack is moved unchanged and encrypted.
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
