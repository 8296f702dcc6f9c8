//! Real nodes, a real Docker Engine, stock clients. Two labs at a time (`lab::Turn`).
//!
//! Every lab has a name of this checkout's own, so that two checkouts do not meet, and goes away with its test.

mod attack;
mod boxes;
mod bridge;
mod builder;
mod check;
mod conformance;
mod consent;
mod database;
mod dns;
mod drill;
mod errors;
mod felt;
mod foreign;
mod full;
mod hooks;
mod host;
mod hostile;
mod inside;
mod into;
mod kill;
pub mod lab;
mod machine;
mod nested;
mod no_space;
mod operators;
mod parted;
mod plain;
mod promote;
mod promote_faults;
mod promote_whole;
mod prune;
mod push;
mod quota;
mod recover;
mod registry;
mod repository;
mod snapshot;
mod soak;
mod still;
mod tasks;
mod unreadable;
mod vm;
mod way_back;
mod working;
