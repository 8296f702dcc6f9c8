//! The state of one node.

use std::net::Ipv4Addr;

/// A node container, as Docker lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeState {
    pub running: bool,
    /// Docker's word.
    pub state: String,
    pub spec: String,
    pub address: Option<Ipv4Addr>,
    /// Unix seconds.
    pub created: i64,
}
