//! What a node may do with a repository's files. Of the one that it gets the key of, never more than its request needs.

use std::{io, sync::Arc};

use bytes::Bytes;

use super::{
    file::{Folder, RepositoryFile},
    storage::Storage,
};

/// Which files a node's request may add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// It reads.
    Read,
    /// It reads, and adds packs, indexes and snapshots.
    Append,
}

impl Rights {
    /// The storage as a node is served it.
    pub fn over(self, storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
        match self {
            Self::Read => Arc::new(ReadOnly(storage)),
            Self::Append => storage,
        }
    }
}

/// Whether a node may read or list such files: locks and keys are nothing of a node's, which has the master key. In a key file a
/// guesser could try passphrases.
pub fn is_readable(folder: Folder) -> bool {
    matches!(folder, Folder::Config | Folder::Snapshots | Folder::Index | Folder::Data)
}

/// Whether a node may add such files.
pub fn is_writable(folder: Folder) -> bool {
    matches!(folder, Folder::Snapshots | Folder::Index | Folder::Data)
}

/// A storage that nothing is added to.
pub struct ReadOnly(pub Arc<dyn Storage>);

impl Storage for ReadOnly {
    fn list(&self, folder: Folder) -> io::Result<Vec<(RepositoryFile, u64)>> {
        self.0.list(folder)
    }

    fn read(&self, file: &RepositoryFile, range: Option<(u64, u64)>) -> io::Result<Bytes> {
        self.0.read(file, range)
    }

    fn write(&self, file: &RepositoryFile, _parts: &[Bytes]) -> io::Result<()> {
        Err(io::Error::other(format!("`{file}` may only be read here, not written")))
    }

    fn remove(&self, file: &RepositoryFile) -> io::Result<()> {
        Err(io::Error::other(format!("`{file}` may only be read here, not removed")))
    }

    fn list_root(&self) -> io::Result<Option<Vec<String>>> {
        self.0.list_root()
    }

    fn make(&self) -> io::Result<()> {
        Err(io::Error::other("this repository may only be read, not made"))
    }
}
