//! Container data as root.
//!
//! A container may change its data at any time: it may put a symbolic link, a FIFO or a device in the place of a file, exchange a
//! directory and a link in a loop, or make a directory 100,000 levels deep. So root reaches container data only through this module:
//! - A path is resolved below an open directory. No part of it is a link, leads out of the directory, or is another mount (openat2(2)).
//! - A file is opened only if it is a regular file, and never waits ([`Dir::file`]).
//! - A name is moved, exchanged or removed in the open directory that holds it.
//! - A walk counts what it sees and how deep it is ([`Walk`]).
//!
//! `None` means absent. A link is an error, never "absent".

pub mod dir;
mod file;
mod list;
mod names;
mod remove;
mod stuck;
#[cfg(test)]
mod tests;
mod usage;

pub use dir::{Dir, reach};
pub use list::{DirEntry, Walk};
pub use names::split;
pub use usage::{DataUsage, Unmeasured, UsageLimits};
