//! What a node is told about itself.

use std::net::SocketAddr;

use lap_snapshots::Filesystem;
use serde::{Deserialize, Serialize};

/// Who a node is. Written to [`crate::wire::paths::CONFIG`] before its first start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeConfig {
    pub lab: String,
    pub node: String,
    pub environment: String,
    /// The node's own address: its containers ask the DNS server there.
    pub address: String,
    /// Size of the data pool in bytes.
    pub disk: u64,
    /// Name servers that are asked while the environment's own does not answer.
    pub upstreams: Vec<String>,
    /// Where lap's own sshd listens; `None`: on port 22 of every address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sshd: Option<SocketAddr>,
    /// The disk for the pool; `None`: a sparse file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What a new pool is; `None`: the best that the kernel has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<Filesystem>,
}
