//! The rights of a node on the files of a repository. Even on a repository whose key it has, a node gets only the
//! rights that its request needs.

use std::{io, sync::Arc};

use bytes::Bytes;

use super::{
    file::{Folder, RepositoryFile},
    storage::Storage,
};

/// The rights that a request gives to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// The node can read.
    Read,
    /// The node can read, and can add packs, indexes and snapshots.
    Append,
}

impl Rights {
    /// Returns the storage with these rights.
    pub fn over(self, storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
        match self {
            Self::Read => Arc::new(ReadOnly(storage)),
            Self::Append => storage,
        }
    }
}

/// Returns whether a node may read or list these files. A node has the master key and needs neither locks nor keys.
/// With a key file, an attacker could try passphrases.
pub fn is_readable(folder: Folder) -> bool {
    matches!(folder, Folder::Config | Folder::Snapshots | Folder::Index | Folder::Data)
}

/// Returns whether a node may add these files.
pub fn is_writable(folder: Folder) -> bool {
    matches!(folder, Folder::Snapshots | Folder::Index | Folder::Data)
}

/// A storage without write access.
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
