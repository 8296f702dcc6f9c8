//! `lap` turns a machine in the office into a small, complete platform for a team.
//!
//! The way of every command: `cli` (arguments) → `config` (the wish) → `observe` (the facts) → `plan` (pure) → `apply`
//! (the only place that changes the world) → `report` (the only place that prints).

pub mod agent;
pub mod apply;
mod archive;
pub mod base;
pub mod beneath;
mod binds;
mod cgroups;
pub mod cli;
pub mod clock;
pub mod config;
pub mod conformance;
mod descriptors;
pub mod docker;
pub mod nameserver;
pub mod prune;

pub mod drivers;
mod durable;
pub mod error;
pub mod exit;
pub mod keys;
#[cfg(test)]
mod loopback;
pub mod names;

pub mod observe;
pub mod plan;
mod probe;
mod random;

pub mod registry;
pub mod release;
pub mod report;
pub mod repository;
pub mod resolve;
pub mod snapshot;
pub mod state;
pub mod wire;
pub mod words;
pub mod workspace;

pub use error::{Error, Kind, OrError, Result};

/// Identity of this binary: a hash of what it was built from. The agent on a node is replaced when its own differs.
pub const BUILD: &str = env!("LAP_BUILD");
