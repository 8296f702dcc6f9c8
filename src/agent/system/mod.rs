//! What the agent needs of the node's operating system, and helpers that all its parts use.

pub mod blocking;
pub mod command;
pub mod failpoint;
pub mod kernel;
pub mod node_config;
pub mod stream;
pub mod systemd;
