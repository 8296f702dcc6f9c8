//! The file with the server's static names.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

use serde::{Deserialize, Serialize};

/// The static content of an environment's name server. It is stored as `names.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// The name of the zone, with its final dot: `internal.`
    pub zone: String,
    /// The name of the name server, with its final dot: `ns.internal.`
    pub server: String,
    /// The address of the name server, or `None` if its node has no address yet.
    pub server_address: Option<Ipv4Addr>,
    /// The addresses of hosts: fully qualified names in lower case with the final dot, one row for each address. If
    /// several rows have the same address, the reverse record (PTR) has the name of the first one.
    pub hosts: Vec<(String, Ipv4Addr)>,
    /// More records of the workspace: the name with its final dot, the type and the data, as in a zone file (RFC 1035,
    /// section 5.1): `("www.internal.", "CNAME", "git.internal.")`.
    #[serde(default)]
    pub records: Vec<(String, String, String)>,
    /// Networks (`192.168.0.0/24`) whose reverse zones the server has even if no row of `hosts` lies in them, for the
    /// addresses that DHCP assigns.
    #[serde(default)]
    pub reverse: Vec<String>,
    /// The upstream servers, in the order in which the server asks them for all other names.
    pub upstreams: Vec<SocketAddr>,
    /// Domains (with their final dot) that have upstream servers of their own. The longest domain that matches a name
    /// applies.
    #[serde(default)]
    pub forward: BTreeMap<String, Vec<SocketAddr>>,
    /// The networks whose clients may ask for names outside the server's zones, and have no rate limit. `None` means
    /// loopback, private and link-local addresses.
    #[serde(default)]
    pub clients: Option<Vec<String>>,
    /// Secondary servers, which are notified when a zone changes (NOTIFY, RFC 1996).
    #[serde(default)]
    pub secondaries: Vec<SocketAddr>,
}
