//! Snapshots on a file system that cannot make them. They are directories at the same paths. A file without changes
//! since the snapshot before is a hard link to that snapshot's file, and a changed file is copied. lap never writes to
//! a file of a snapshot, and a restore copies files, so hard links are safe.
//!
//! ```text
//! snapshots/.new-<id>/early/<n>   copies of changed files, by inode number, until they have their place
//! snapshots/.new-<id>/half        the tree of the snapshot, until it is complete
//! known/<id>                      which present file each file of a snapshot is a copy of: see `known`
//! ```

mod known;
mod take;
mod usage;

pub use known::{KnownFiles, Stamp, confirm, forget, prepare, sweep};
pub use take::Shot;
pub use usage::usage;
