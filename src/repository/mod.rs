//! Snapshots off the machine: repositories in restic's format.
//!
//! The agent's child reads and writes the data on the node (`work`); the repository's files lie where the operator is, or
//! where the operator gets with SSH, and are reached through the connection that asked (`relay`):
//!
//! ```text
//! node                                   operator's machine
//! snapshots/<id> ── work::{copy,fetch}   cli ── Repository
//!                        │ rustic_core              │
//!                     Backend                       │
//!                        │ Remote ═══ relay ═════ Storage ── Directory | Sftp | S3
//! ```
//!
//! What travels is encrypted on the node. A node can read its own environment's files and add some, and neither replace nor remove
//! one (`rights`). Every file but one is named after the SHA-256 of its content: what arrives is checked before it gets its name.
//! Each environment has a repository of its own (`room`).
//!
//! In a snapshot `/lap/data` is `/data`, `/lap/meta.json` says what ran, and `/lap/state` is what the node knew (releases, …).
//! The keys and the workspace are snapshots of another repository, see `office`.

mod backend;
mod cipher;
mod directory;
mod doors;
mod file;
mod in_flight;
mod location;
mod lock;
mod office;
mod open;
pub mod policy;
mod prune;
pub mod relay;
mod remote;
pub mod restore;
mod rights;
mod room;
mod s3;
mod sftp;
mod snapshots;
mod users;
mod verify;
pub mod warnings;
pub mod work;

#[cfg(test)]
pub(crate) mod tests;

use std::io;

use bytes::Bytes;

pub use doors::Door;
pub use file::{File, Folder};
pub use location::Location;
pub use lock::Lock;
pub use open::{Repository, Tell};
pub use prune::Pruned;
pub use remote::Remote;
pub use rights::Rights;
pub use room::Room;
pub use snapshots::Copy;
pub use verify::Depth;

/// Where a repository's files lie.
pub trait Storage: Send + Sync + 'static {
    /// All files of a folder, with their sizes; none if there is no such folder.
    ///
    /// # Errors
    /// It cannot be read.
    fn list(&self, folder: Folder) -> io::Result<Vec<(File, u64)>>;
    /// A file, or `(offset, length)` of it.
    ///
    /// # Errors
    /// It is not there, is shorter, or cannot be read.
    fn read(&self, file: &File, range: Option<(u64, u64)>) -> io::Result<Bytes>;
    /// Makes a file, whole or not at all, and on the disk when this returns; packs may be on their way until what names them, an
    /// index or a snapshot, is written. One that is there stays as it is.
    ///
    /// # Errors
    /// It cannot be written, or a pack before it.
    fn write(&self, file: &File, parts: &[Bytes]) -> io::Result<()>;
    /// Removes a file; one that is not there is no error.
    ///
    /// # Errors
    /// It cannot be removed, or not from here.
    fn remove(&self, file: &File) -> io::Result<()>;
    /// What is in it beside the folders; `None`: there is no such place.
    ///
    /// # Errors
    /// It cannot be looked at.
    fn look(&self) -> io::Result<Option<Vec<String>>>;
    /// Makes the place, in a directory that is there.
    ///
    /// # Errors
    /// It cannot be made.
    fn make(&self) -> io::Result<()>;
}
