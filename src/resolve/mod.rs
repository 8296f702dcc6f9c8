//! `lap dns install [--undo]`: makes this machine, and its Docker, resolve the lab's names.
//!
//! Three beats: [`observe()`] who resolves here and what its files say, [`plan()`] what to change (pure; a change prints as
//! a difference), [`apply()`]. What was there before is kept in a [`ResolverRecord`], which is written before the first change:
//! killed anywhere, the same command or `--undo` ends clean.
//!
//! Every file is treated in the same way. First what it would be without us ([`Kept::without`]): what it was, if it still is
//! as we wrote it; else, as it is but for our part. Then our part put into that, or, to undo, nothing more.

mod apply;
mod block;
mod daemon;
mod dhcp;
mod diff;
pub mod facts;
mod file;
mod manager;
mod observe;
mod plan;
mod record;
mod tree;

#[cfg(test)]
mod tests;

pub use apply::{InstallLock, apply, lock, look_up, run_command};
pub use dhcp::dhcp;
pub use file::Content;
pub use observe::observe;
pub use plan::{ResolverPlan, ResolverStep, plan};
pub use record::{Kept, OwnedPart, ResolverRecord};
