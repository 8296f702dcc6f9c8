//! Access to container data as root.
//!
//! A container can change its data at any time. It can replace a file by a symbolic link, a FIFO or a device, exchange
//! a directory and a link in a loop, or make a directory 100,000 levels deep. Therefore root reaches container data
//! only through this module:
//! - A path is resolved below an open directory with openat2(2). It fails if a part of it is a link, leads out of the
//!   directory, or is a mount point.
//! - Only regular files are opened, and this never blocks ([`Dir::file`]).
//! - Names are moved, exchanged and removed in the open directory that contains them.
//! - A walk has a limit for the number of entries and for the depth ([`Walk`]).
//!
//! `None` means that the file does not exist. A link is an error, and never `None`.

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
