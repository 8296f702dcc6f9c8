//! Switches the environment to another release as one transaction, which ends in the old release or the new one, whole, wherever it
//! is killed. Before the release is made (`Phase::Committed` is written) everything is taken back; after it, finished. The record
//! holds all it takes, so neither way needs whoever asked for it.

mod containers;
mod finish;
mod forward;
mod gate;
mod git;
mod last;
mod measure;
mod record;
mod run;
mod staged;
mod transaction;
mod undo;
mod watch;

pub use last::LastSwitch;
pub use run::{is_pending, named, recover, run};
pub use transaction::{SwitchResult, ledger};
pub use watch::{SwitchWatch, WatchCursor};
