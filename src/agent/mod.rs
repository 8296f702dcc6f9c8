//! The agent: the same binary, supervised on each node.
//!
//! It mounts `/data`, closes what the journal holds, and only then lets Docker start containers. It has no network port:
//! a unix socket, reached over SSH ([`crate::wire::protocol`] has the messages). The holder of the node's lock changes the
//! node through it; when the holder's connection ends, so does everything it could do ([`lock`]).

#![expect(clippy::print_stderr, reason = "a daemon's log is its stderr")]

pub mod boot;
pub mod checks;
mod clone_data;
pub mod copies;
pub mod daemons;
mod data;
mod docker;
pub mod git;
pub mod install;
pub mod journal;
pub mod lock;
pub mod pool;
pub mod prune;
pub mod push;
pub mod recorded;
pub mod recovery;
pub mod serve;
pub mod snapshots;
pub mod switch;
mod system;
