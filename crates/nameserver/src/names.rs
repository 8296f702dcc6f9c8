//! The file of static names that the server is given.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

use serde::{Deserialize, Serialize};

/// What the DNS server of one environment serves from the workspace, as `names.json` beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// The zone, with its final dot: `internal.`
    pub zone: String,
    /// The name server's own name, with its final dot: `ns.internal.`
    pub server: String,
    /// The name server's own address; `None` while its node has none yet.
    pub server_address: Option<Ipv4Addr>,
    /// Fully qualified, with the final dot, lower case; one row per address.
    /// The first row of an address is the name its reverse (PTR) record gives.
    pub hosts: Vec<(String, Ipv4Addr)>,
    /// Further records of the workspace: name (with its final dot), type and data, both as in a zone file (RFC 1035,
    /// section 5.1): `("www.internal.", "CNAME", "git.internal.")`.
    #[serde(default)]
    pub records: Vec<(String, String, String)>,
    /// Networks (`192.168.0.0/24`) whose reverse zones are ours although no row lies in them: for what DHCP hands out.
    #[serde(default)]
    pub reverse: Vec<String>,
    /// Where everything else is asked, in this order.
    pub upstreams: Vec<SocketAddr>,
    /// Domains (with their final dot) that are asked elsewhere than at `upstreams`; the longest that fits counts.
    #[serde(default)]
    pub forward: BTreeMap<String, Vec<SocketAddr>>,
    /// Networks whose machines may ask for what is not ours, and are not limited in how much they ask.
    /// `None`: loopback, private and link-local addresses.
    #[serde(default)]
    pub clients: Option<Vec<String>>,
    /// Secondary servers, told when a zone changes (NOTIFY, RFC 1996).
    #[serde(default)]
    pub secondaries: Vec<SocketAddr>,
}
