//! Helpers that the tests of lap and of its crates share. They are always compiled: a Cargo feature would hide them
//! from programs, but `cargo build` and `cargo test` would then compile each crate twice.

pub mod loopback;
pub mod renames;
