//! Snapshots of a directory tree, and their restore, on btrfs, XFS and ext4.
//!
//! A restore is one exchange of names: after a power cut at any moment, the tree is either the old one or the new one,
//! and the next [`recover`] completes or undoes the rest. The caller passes two things that this crate does not know:
//! [`Still`] freezes the writing programs while a snapshot is taken, and [`World`] stops and starts them for a restore.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use lap_base::Result;
//! use lap_snapshots::{Meta, Nested, Reason, Still, free_id, list, order, take};
//!
//! /// No program writes here.
//! struct Quiet;
//!
//! impl Still for Quiet {
//!     fn at(&mut self, _step: &str) {}
//!     fn pause(&mut self) -> Result<()> { Ok(()) }
//!     fn resume(&mut self) -> Result<()> { Ok(()) }
//!     fn patience(&self) -> Option<std::time::Duration> { None }
//! }
//!
//! # fn main() -> Result<()> {
//! let (pool, now) = (Path::new("/srv/pool"), 1_795_254_312);
//! let id = free_id(pool, now);
//! let meta = Meta {
//!     order: Some(order::next(pool, &id)?),
//!     id,
//!     at: now,
//!     reason: Reason::Asked,
//!     note: None,
//!     by: "anna@notebook".into(),
//!     current: None,
//!     pause: None,
//!     nested: Nested::default(),
//! };
//! take(pool, &meta, &mut Quiet)?;
//! assert_eq!(list(pool)?.last().map(|newest| &newest.id), Some(&meta.id));
//! # Ok(())
//! # }
//! ```
//!
//! The pool is a mounted file system:
//!
//! ```text
//! data                     the present data, mounted at /data
//! known/                   only if the pool is not btrfs: see `plain`
//! data.lap-new             a prepared restore; after the switch: the data before it
//! snapshots/<id>/data      read-only, if the pool is btrfs
//! snapshots/<id>/meta.json the time, the reason, the user, the release that ran
//! snapshots/<id>/nested    see `nested`
//! snapshots/.new-<id>      an incomplete snapshot
//! state/restore.json       a restore in progress: see `restore`
//! ```
//!
//! A snapshot is listed only if it is complete, because its directory gets its name last. `volume` hides whether the
//! pool is btrfs.

#[cfg(test)]
extern crate self as lap_snapshots;

mod adopt;
mod btrfs;
pub mod half;
pub mod subvolume;

mod dates;
mod diff;
mod filesystem;
pub mod hooks;
mod id;
pub mod keep;
mod meta;
pub mod nested;
pub mod only;
pub mod order;
mod pause;
mod plain;
mod records;
mod restore;
mod stage;
mod still;
mod sweep;
mod take;
#[cfg(test)]
mod tests;
mod tree;
pub mod volume;

pub use self::half::{drop_half, hold, hold_half};
pub use self::nested::list::{Missing, Nested};
pub use adopt::adopt;
pub use diff::{FileChange, FileDifference, diff};
pub use filesystem::{Filesystem, is_btrfs};
pub use id::Id;
pub use meta::{Damaged, Meta, Reason, all, data, find, list, none_newer};
pub use order::Order;
pub use pause::{HookRan, Pause};
pub use records::{named, sweep_beside};
pub use restore::{Restore, RestoreStep, World, recover};
pub use stage::{stage, unstage};
pub use still::{STEPS, Still, Stood};
pub use sweep::{abandon, remove, sweep};
pub use take::{
    TakeStats, begin, complete, describe, described, finish, finish_import, free_id, is_whole, prepare_import, take,
};
pub use tree::{copy, remove as remove_tree};
