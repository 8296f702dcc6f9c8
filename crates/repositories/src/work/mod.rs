//! Copies into a repository and out of it, on the machine that has the snapshots.

mod copy;
mod fetch;

pub use copy::{CopySource, CopyStats, copy};
pub use fetch::fetch;
