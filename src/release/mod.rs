//! Releases: what an environment ran, runs and is to run, and the ledger of how it came to that.

pub mod desired_state;
mod history;
mod ledger;
pub mod manifest;
mod order;

pub use history::{before, data_of};
#[cfg(test)]
pub(crate) use ledger::tests;
pub use ledger::{LedgerEntry, SwitchOutcome, append, newest, read, read_all, verify};
pub use order::{GitMove, Hooked, Make, Outage, Staged, SwitchOrder, Verb, WatcherDecision};
