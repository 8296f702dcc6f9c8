//! Restores from a repository onto a disk.
//!
//! An attacker with a repository's key can forge an entry with any name, and rustic_core writes to the path that the
//! name gives. There are two defences, each sufficient without the other:
//!
//! - every entry is checked before rustic_core restores the first one (`names`, `rules`), and
//! - rustic_core runs in a child process (`child`) that has the target as its root directory (`confine`).

mod child;
mod confine;
pub mod here;
pub mod job;
mod names;
mod rules;
mod spawn;

pub use child::run;
pub use spawn::{here_served, inherited};
