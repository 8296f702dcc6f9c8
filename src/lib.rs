//! `lap` turns a machine in the office into a small, complete platform for a team.
//!
//! A command goes through `cli` (its arguments), `config` (what you declared), `observe` (the facts), `plan` (pure), `apply` (the only
//! place that changes anything) and `report` (the only place that prints).

pub mod agent;
pub mod apply;
mod binds;
pub mod cli;
pub mod config;
pub mod conformance;
pub mod docker;
pub mod drivers;
pub mod keys;
pub mod names;
pub mod observe;
pub mod plan;
mod probe;
pub mod prune;
pub mod registry;
pub mod release;
pub mod report;
pub mod resolve;
pub mod wire;
pub mod workspace;

/// Identity of this binary: a hash of what it was built from. The agent on a node is replaced when its own differs.
pub const BUILD: &str = env!("LAP_BUILD");
