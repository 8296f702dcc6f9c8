//! Real nodes, a real Docker Engine, stock clients. One lab at a time: two cores are two cores.
//!
//! Every lab has a name of this checkout's own, so that two checkouts do not meet, and goes away with its test.

mod boxes;
mod check;
mod dns;
mod errors;
mod full;
mod kill;
pub mod lab;
mod machine;
mod operators;
mod promote;
mod promote_faults;
mod promote_whole;
mod push;
mod registry;
mod repository;
mod snapshot;
mod vm;
