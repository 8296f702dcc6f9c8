//! Snapshots of a node's data, and the way back. Runs in the agent, on the node's pool:
//!
//! ```text
//! data                     the present, mounted at /data
//! known/                   only where the pool is no btrfs: see `plain`
//! data.lap-new             a restore that is being prepared; after the switch: what was there before it
//! snapshots/<id>/data      read-only, where the pool is btrfs
//! snapshots/<id>/meta.json what, when, by whom, which release ran
//! snapshots/.new-<id>      one that is being taken
//! state/restore.json       a restore under way: see `restore`
//! ```
//!
//! A snapshot is listed only when it is whole: its directory gets its name last. `volume` hides whether the pool is btrfs.

mod adopt;
mod btrfs;

mod diff;
mod filesystem;
pub mod hooks;
mod id;
pub mod keep;
mod meta;
pub mod only;
mod pause;
mod plain;
mod restore;
mod still;
mod take;
#[cfg(test)]
pub(crate) mod tests;
mod tree;
pub mod volume;

pub use adopt::adopt;
pub use diff::{Change, Difference, diff};
pub use filesystem::{Filesystem, is_btrfs};
pub use id::Id;
pub use meta::{Meta, Reason, data, find, list};
pub use pause::{HookRan, Pause};
pub use restore::{Restore, Step, World, exchange, recover};
pub use still::{STEPS, Still, Stood};
pub use take::{
    abandon, begin, describe, drop_half, finish, finish_import, free_id, hold, hold_half, is_one_piece, is_whole,
    prepare_import, remove, stage, sweep, take, unstage,
};
pub use tree::copy;
