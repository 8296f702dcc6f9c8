//! Repositories in the format of restic, for snapshots that leave the machine. You can read them with stock restic, without lap.
//!
//! ```
//! use std::sync::Arc;
//!
//! use lap_base::secret::Secret;
//! use lap_repositories::{Depth, KeySlot, Location, OnProgress, Repository};
//!
//! # fn main() -> lap_base::Result<()> {
//! let directory = tempfile::tempdir().unwrap();
//! let storage = Location::Directory(directory.path().join("office")).storage()?;
//! let (password, quiet): (_, OnProgress) = (Secret::new("a good password".into()), Arc::new(|_: &str| {}));
//! Repository::make(storage.clone(), "office", &password, quiet.clone())?;
//! let repository = Repository::open(storage, "office", KeySlot::Lab, &password, quiet)?;
//! assert!(repository.copies()?.is_empty());
//! assert!(repository.verify(Depth::Structure)?.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! The agent's child process reads and writes the data on the node (`work`). The files of the repository are on the
//! operator's machine, or where this machine can reach them with SSH or S3. The child reaches them through the client's
//! connection (`relay`):
//!
//! ```text
//! node                                   operator's machine
//! snapshots/<id> ── work::{copy,fetch}   cli ── Repository
//!                        │ rustic_core              │
//!                     Backend                       │
//!                        │ Remote ═══ relay ═════ Storage ── Directory | Sftp | S3
//! ```
//!
//! All data is encrypted on the node. A node can read the files of its own environment's repository and add files. It
//! can neither replace nor remove a file (`rights`). The name of every file except one is the SHA-256 of its content,
//! and the receiver checks the content before the file gets its name. Each environment has its own repository
//! (`scope`).
//!
//! In a snapshot, `/lap/data` is `/data`, `/lap/meta.json` describes what ran, and `/lap/state` is the state of the
//! node (releases and more). The keys and the workspace are snapshots in another repository (see `recovery_bundle`).

mod backend;
mod cipher;
mod directory;
mod file;
mod in_flight;
pub mod key_slot;
mod location;
mod lock;
mod open;
mod passwords;
pub mod policy;
mod prune;
pub mod recovery_bundle;
pub mod relay;
mod remote;
pub mod restore;
mod rights;
mod s3;
mod scope;
mod sftp;
mod snapshots;
pub mod storage;
mod users;
mod verify;
pub mod warnings;
pub mod work;

#[cfg(test)]
pub(crate) mod tests;

pub use self::key_slot::KeySlot;
pub use file::{Folder, RepositoryFile};
pub use location::Location;
pub use lock::RepositoryLock;
pub use open::{OnProgress, Repository};
pub use prune::Pruned;
pub use remote::Remote;
pub use rights::Rights;
pub use scope::RepositoryScope;
pub use snapshots::{Copy, Position};
pub use storage::Storage;
pub use verify::Depth;
