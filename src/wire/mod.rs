//! What the operator's machine and a node share: the messages on the agent's socket, the client that sends them, and the paths and labels
//! that both sides use. It depends on neither side.

pub mod archive_stream;
pub mod client;
pub mod git;
pub mod labels;
pub mod machine;
pub mod paths;
pub mod protocol;
pub mod prune;
pub mod units;
