//! DNS names of a lab: which name has which address, in which environment.
//!
//! Pure: from the workspace (and the addresses the nodes have) to the list that the DNS server is given.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
};

use lap_nameserver::names::Names;

use crate::config::{
    model::{Address, Container, Lab, Subnet},
    value::name::below,
};

pub mod check;

#[cfg(test)]
mod tests;

/// What [`names`] is made from.
#[derive(Clone, Copy, Debug)]
pub struct NameInputs<'a> {
    /// The desired state: containers, hosts, work stations, environments.
    pub lab: &'a Lab,
    /// Whose server the names are for.
    pub environment: &'a str,
    /// The addresses nodes have, by name; nodes that have none yet are absent, and so are the names that need them.
    pub nodes: &'a BTreeMap<String, Ipv4Addr>,
    /// The lab's network, for addresses written as an offset (`.10`); such addresses are left out without it.
    pub subnet: Option<Subnet>,
    /// Where that server asks for everything it does not know, in this order.
    pub upstreams: &'a [SocketAddr],
    /// What this environment runs, where that is a release and not what the workspace has now.
    pub runs: Option<&'a BTreeMap<String, Container>>,
}

/// All names the server of one environment answers: those of containers and machines, and the records of `[dns.records]`.
///
/// A bare `git.internal` is this environment's own; `git.<environment>.internal` is answered for every environment that
/// has an address, so that each server knows them all. Machines come first, since an address's first row is its PTR.
pub fn names(inputs: &NameInputs) -> Names {
    let NameInputs { lab, environment, nodes, subnet, upstreams, runs } = *inputs;
    let master = |name: &str| lab.environments.get(name).and_then(|e| nodes.get(&e.master)).copied();
    let own = master(environment);

    let zone = format!("{}.", lab.dns.zone);
    // What DHCP hands out lies in the lab's own network first of all.
    let mut reverse: Vec<String> = subnet.iter().map(Subnet::to_string).collect();
    reverse.extend(
        lab.dns.reverse.iter().filter(|network| subnet.is_none_or(|own| own.to_string() != **network)).cloned(),
    );

    let mut hosts = Rows::default();
    for (node, address) in nodes.iter().filter(|(name, _)| lab.nodes.contains_key(*name)) {
        hosts.add(format!("{node}.node.{zone}"), Some(*address));
    }
    for (host, address) in &lab.hosts {
        hosts.add(format!("{host}.host.{zone}"), place(*address, subnet));
    }
    for (pc, address) in &lab.pcs {
        hosts.add(format!("{pc}.pc.{zone}"), place(*address, subnet));
    }
    let server = format!("ns.{zone}");
    hosts.add(server.clone(), own);

    let labels = |containers: &BTreeMap<String, Container>| -> BTreeSet<String> {
        containers.values().flat_map(|c| &c.names).filter_map(|name| below_zone(name, &lab.dns.zone)).collect()
    };
    let (here, elsewhere) = (labels(runs.unwrap_or(&lab.containers)), labels(&lab.containers));
    for label in &here {
        hosts.add(format!("{label}.{zone}"), own);
    }
    for name in lab.environments.keys() {
        for label in if name == environment { &here } else { &elsewhere } {
            hosts.add(format!("{label}.{name}.{zone}"), master(name));
        }
    }
    Names {
        zone,
        server,
        server_address: own,
        hosts: hosts.list,
        records: lab
            .dns
            .records
            .iter()
            .map(|(name, rtype, data)| (format!("{name}."), rtype.clone(), data.clone()))
            .collect(),
        reverse,
        upstreams: upstreams.to_vec(),
        forward: lab.dns.forward.iter().map(|(domain, servers)| (format!("{domain}."), servers.clone())).collect(),
        clients: lab.dns.clients.clone(),
        secondaries: lab.dns.secondaries.clone(),
    }
}

/// The name by which a container of `environment` is known everywhere: `git.internal` is `git.test.internal`.
pub fn of_environment(name: &str, environment: &str, zone: &str) -> Option<String> {
    below_zone(name, zone).map(|labels| format!("{labels}.{environment}.{zone}"))
}

/// The rows in the order they came, none twice.
#[derive(Default)]
struct Rows {
    list: Vec<(String, Ipv4Addr)>,
    seen: BTreeSet<(String, Ipv4Addr)>,
}

impl Rows {
    fn add(&mut self, name: String, address: Option<Ipv4Addr>) {
        let Some(address) = address else { return };
        let row = (name.to_ascii_lowercase(), address);
        if self.seen.insert(row.clone()) {
            self.list.push(row);
        }
    }
}

/// `Ubuntu.Cache.internal` → `ubuntu.cache`; `None` for what is not below the zone.
fn below_zone(name: &str, zone: &str) -> Option<String> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    below(&name, zone).map(str::to_owned)
}

/// An address as it is written, in the lab's network.
fn place(address: Address, subnet: Option<Subnet>) -> Option<Ipv4Addr> {
    match address {
        Address::Full(address) => Some(address),
        Address::Offset(offset) => subnet.map(|s| Ipv4Addr::from(u32::from(s.base).saturating_add(u32::from(offset)))),
    }
}
