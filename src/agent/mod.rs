//! The agent: the same binary, supervised on each node.
//!
//! It mounts `/data`, closes what the journal holds, and only then lets Docker start containers. It has no network port:
//! a unix socket, reached over SSH ([`protocol`] is what is spoken there). The holder of the node's lock changes the
//! node through it; when the holder's connection ends, so does everything it could do ([`lock`]).

#![expect(clippy::print_stderr, reason = "a daemon's log is its stderr")]

mod archive;
pub mod binds;
pub mod boot;
pub mod checks;
pub mod copies;
pub mod daemons;
pub mod disk;
pub mod facts;
pub mod failpoint;
mod felt;
pub mod git;
mod grow;
mod guest;
pub mod health;
pub mod hooks;
pub mod images;
pub mod init;
pub mod install;
mod into;
pub mod journal;
pub mod kernel;
pub mod leave;
pub mod lock;
mod mkfs;
mod mounts;
pub mod pool;
mod ports;
pub mod prepare;
pub mod prune;
pub mod push;
pub mod recorded;
mod recovery;
pub mod releases;
pub mod repository;
pub mod repository_child;
pub mod resolve;
pub mod revive;
pub mod serve;
mod shims;
pub mod snapshots;
mod still;
pub mod switch;
pub mod systemd;
pub mod tunnel;
