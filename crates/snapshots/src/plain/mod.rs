//! Snapshots on a file system that takes none itself: directories like all others, in the same places. What has not changed since
//! the snapshot before is that one's file under a second name; what has is copied. No file of a snapshot is ever written to, and
//! a restore copies, so that a second name does no harm.
//!
//! ```text
//! snapshots/.new-<id>/early/<n>   copies of the files that changed, by inode, before they have their place
//! snapshots/.new-<id>/half        the snapshot's tree, until it is whole
//! known/<id>                      which file of the present each file of a snapshot is a copy of: see `known`
//! ```

mod known;
mod take;
mod usage;

pub use known::{KnownFiles, Stamp, confirm, forget, prepare, sweep};
pub use take::Shot;
pub use usage::usage;
