//! The interface to the files of a repository.

use std::io;

use bytes::Bytes;

use super::file::{Folder, RepositoryFile};

/// The storage of a repository's files.
pub trait Storage: Send + Sync + 'static {
    /// Returns all files of a folder with their sizes. The list is empty if the folder does not exist.
    ///
    /// # Errors
    /// The folder cannot be read.
    fn list(&self, folder: Folder) -> io::Result<Vec<(RepositoryFile, u64)>>;
    /// Reads a file, or the part `(offset, length)` of it.
    ///
    /// # Errors
    /// The file does not exist, is shorter, or cannot be read.
    fn read(&self, file: &RepositoryFile, range: Option<(u64, u64)>) -> io::Result<Bytes>;
    /// Writes a complete file or none. The file is on the disk when the call returns, with one exception: a pack may
    /// still be in progress until an index or a snapshot is written. An existing file is not changed.
    ///
    /// # Errors
    /// This file, or an earlier pack, cannot be written.
    fn write(&self, file: &RepositoryFile, parts: &[Bytes]) -> io::Result<()>;
    /// Removes a file. It is not an error if the file does not exist.
    ///
    /// # Errors
    /// The file cannot be removed, or this storage does not permit it.
    fn remove(&self, file: &RepositoryFile) -> io::Result<()>;
    /// Returns the names of all entries at the location, or `None` if the location does not exist.
    ///
    /// # Errors
    /// The location cannot be read.
    fn list_root(&self) -> io::Result<Option<Vec<String>>>;
    /// Creates the location, in an existing directory.
    ///
    /// # Errors
    /// It cannot be created.
    fn make(&self) -> io::Result<()>;
}
