//! Snapshots and restores of this node: [`lap_snapshots`] with the node's own pool, mounts and Docker around it.

pub mod archive;
mod keep;
mod list;
mod node;
mod policy;
mod records;
mod rest;
mod restore;
mod scheduled;
mod take;

pub use keep::{keep_as, two_names};
pub use list::{adopt, diff, facts, find, list, remove, show};
pub use records::is_pending;
pub use rest::{is_under_way, wait};
pub use restore::{put_back, recover, restore};
pub use scheduled::{count_time, is_due, prune, take_due};
pub use take::take;
