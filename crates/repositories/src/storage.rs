//! Where the files of a repository are.

use std::io;

use bytes::Bytes;

use super::file::{Folder, RepositoryFile};

/// Where a repository's files lie.
pub trait Storage: Send + Sync + 'static {
    /// All files of a folder, with their sizes; none if there is no such folder.
    ///
    /// # Errors
    /// It cannot be read.
    fn list(&self, folder: Folder) -> io::Result<Vec<(RepositoryFile, u64)>>;
    /// A file, or `(offset, length)` of it.
    ///
    /// # Errors
    /// It is not there, is shorter, or cannot be read.
    fn read(&self, file: &RepositoryFile, range: Option<(u64, u64)>) -> io::Result<Bytes>;
    /// Makes a file, whole or not at all, and on the disk when this returns; packs may be on their way until what names them, an
    /// index or a snapshot, is written. One that is there stays as it is.
    ///
    /// # Errors
    /// It cannot be written, or a pack before it.
    fn write(&self, file: &RepositoryFile, parts: &[Bytes]) -> io::Result<()>;
    /// Removes a file; one that is not there is no error.
    ///
    /// # Errors
    /// It cannot be removed, or not from here.
    fn remove(&self, file: &RepositoryFile) -> io::Result<()>;
    /// What is in it beside the folders; `None`: there is no such place.
    ///
    /// # Errors
    /// It cannot be looked at.
    fn list_root(&self) -> io::Result<Option<Vec<String>>>;
    /// Makes the place, in a directory that is there.
    ///
    /// # Errors
    /// It cannot be made.
    fn make(&self) -> io::Result<()>;
}
