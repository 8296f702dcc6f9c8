//! What containers feel while something is done to their data: hooks, freezes, and how long their writes wait.

pub mod freeze;
pub mod hooks;
pub mod io_latency;
