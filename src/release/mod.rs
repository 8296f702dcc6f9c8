//! Releases: what an environment ran, runs and is to run, and the ledger of how it came to that.

mod ledger;
mod order;

pub use ledger::{Ended, Entry, append, left_by, read, verify};
pub use order::{GitMove, Hooked, Make, Order, Outage, Reply, Staged, Verb};
