//! Repositories in the format of restic, for snapshots that leave the machine. Stock restic reads them when lap is gone.
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
//! The agent's child reads and writes the data on the node (`work`). The repository's files are where the operator is, or where the
//! operator gets with SSH or S3. The child reaches them through the connection of the client (`relay`):
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
//! The keys and the workspace are snapshots of another repository, see `recovery_bundle`.

mod backend;
mod cipher;
mod directory;
mod doors;
mod file;
mod in_flight;
pub mod key_slot;
mod location;
mod lock;
mod open;
pub mod policy;
mod prune;
pub mod recovery_bundle;
pub mod relay;
mod remote;
pub mod restore;
mod rights;
mod room;
mod s3;
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
pub use room::RepositoryScope;
pub use snapshots::{Copy, Position};
pub use storage::Storage;
pub use verify::Depth;
