//! Snapshots of a node's data, and the way back. Runs in the agent, on the node's pool:
//!
//! ```text
//! data                     the present, mounted at /data
//! known/                   only where the pool is no btrfs: see `plain`
//! data.lap-new             a restore that is being prepared; after the switch: what was there before it
//! snapshots/<id>/data      read-only, where the pool is btrfs
//! snapshots/<id>/meta.json what, when, by whom, which release ran
//! snapshots/<id>/nested    see `nested`
//! snapshots/.new-<id>      one that is being taken
//! state/restore.json       a restore under way: see `restore`
//! ```
//!
//! A snapshot is listed only when it is whole: its directory gets its name last. `volume` hides whether the pool is btrfs.

mod adopt;
mod btrfs;
pub mod half;
pub mod subvolume;

mod diff;
mod filesystem;
pub mod hooks;
mod id;
pub mod keep;
mod meta;
pub mod nested;
pub mod only;
mod pause;
mod plain;
mod records;
mod restore;
mod stage;
mod still;
mod sweep;
mod take;
#[cfg(test)]
pub(crate) mod tests;
mod tree;
pub mod volume;

pub use self::half::{drop_half, hold, hold_half};
pub use self::nested::list::{Missing, Nested};
pub use adopt::adopt;
pub use diff::{Change, Difference, diff};
pub use filesystem::{Filesystem, is_btrfs};
pub use id::Id;
pub use meta::{Damaged, Meta, Reason, all, data, find, list, none_newer};
pub use pause::{HookRan, Pause};
pub use records::named;
pub use restore::{Restore, Step, World, recover};
pub use stage::{stage, unstage};
pub use still::{STEPS, Still, Stood};
pub use sweep::{abandon, remove, sweep};
pub use take::{
    Taken, begin, complete, describe, described, finish, finish_import, free_id, is_whole, prepare_import, take,
};
pub use tree::{copy, remove as remove_tree};
