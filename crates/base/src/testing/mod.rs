//! What the tests of lap and of its crates share. A feature of cargo would hide it from programs, and would also make `cargo build` and
//! `cargo test` compile every crate twice.

pub mod loopback;
pub mod renames;
