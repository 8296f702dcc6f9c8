//! Out of a repository onto a disk. Whoever has a repository's key can forge an entry with any name, and rustic_core writes
//! where the name says. Two things hold against that, each without the other:
//!
//! - every entry is checked before the library restores the first one (`names`, `rules`), and
//! - the library runs in a process of its own (`child`) that has the target as its root directory (`confine`).

mod aside;
mod child;
mod confine;
pub mod here;
pub mod job;
mod names;
mod rules;

pub use aside::{here_served, inherited};
pub use child::run;
