//! The node's pool: btrfs with the subvolumes `data` (mounted at `/data`), `state`, and the directory `snapshots`; where the kernel has
//! no btrfs, another file system with directories of these names.

pub mod binds;
mod disk;
mod facts;
pub mod grow;
mod mkfs;
mod mount;
mod mountinfo;
pub mod reserve;
mod room;

pub use facts::facts;
pub use mount::{make_data, mount, mount_data, path, unmount, unmount_data};
pub use mountinfo::is_mounted;
pub use room::PoolRoom;
