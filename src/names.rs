//! DNS names of a lab: which name has which address, in which environment.
//!
//! Pure: from the workspace (and the addresses the nodes have) to the list that the DNS server is given.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// What the DNS server of one environment serves from the workspace, as `names.json` beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// The zone, with its final dot: `internal.`
    pub zone: String,
    /// The name server's own name and address.
    pub server: String,
    pub server_address: Option<Ipv4Addr>,
    /// Fully qualified, with the final dot, lower case; one row per address.
    pub hosts: Vec<(String, Ipv4Addr)>,
    /// Where everything else is asked, in this order.
    pub upstreams: Vec<std::net::SocketAddr>,
}
