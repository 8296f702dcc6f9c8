//! What containers feel while something is done to their data: hooks, freezes, and how long their writes wait.

pub mod freeze;
mod frozen;
mod guard;
pub mod held;
pub mod hooks;
pub mod io_latency;
mod processes;
pub mod quota;
