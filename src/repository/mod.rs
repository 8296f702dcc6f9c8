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
pub use file::{File, Folder};
pub use location::Location;
pub use lock::Lock;
pub use open::{Repository, Tell};
pub use prune::Pruned;
pub use remote::Remote;
pub use rights::Rights;
pub use room::Room;
pub use snapshots::Copy;
pub use storage::Storage;
pub use verify::Depth;
