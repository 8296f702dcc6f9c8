//! A container that fills its data does not fill the pool of all. When the pool is almost full, the agent measures the data of the containers and
//! freezes each one that has more than its size (`[data] size` in container.toml). It continues it when there is room again or the data is
//! within its size.
//!
//! The pool is looked at every second, with one system call. Data is measured only while the pool is almost full, by a walk: quota groups of
//! btrfs would count all the time, and make each snapshot slower. A walk has a time limit, and a container decides how many files it sees: so
//! a name counts as bytes, too, and a walk ends as soon as the container has too much.
//!
//! A container without a size is never frozen. `lap status` names it if its data grows most.

mod decide;
mod deleted;
mod measure;
mod watch;

pub use super::frozen::{facts, frozen};
pub use watch::watch;
