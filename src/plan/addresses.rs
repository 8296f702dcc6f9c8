//! Which address each node has.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use lap_base::error::{Error, Kind, Result};
use sha2::{Digest, Sha256};

use crate::{
    config::{
        model::{Lab, Node, Provider, Subnet},
        network,
    },
    drivers::node::docker::HostFacts,
};

/// The address of every node of the lab; one whose address the office's DHCP gives is absent until it is seen. What is written counts. Of the others, whoever is there keeps what it has, as long as nobody
/// writes that for another; whoever is new begins to look at a place that its name says. So nobody moves because others come or go.
///
/// # Errors
/// A node's address is not in the subnet, or there is none for it.
pub fn addresses(lab: &Lab, subnet: &Subnet, host: &HostFacts) -> Result<BTreeMap<String, Ipv4Addr>> {
    let mut out = written(lab, subnet)?;
    let machines = lab.hosts.values().chain(lab.pcs.values()).filter_map(|address| address.resolve(subnet));
    let mut used: BTreeSet<Ipv4Addr> = out.values().copied().chain(machines).collect();
    let mut new = Vec::new();
    for node in lab.nodes.values().filter(|node| node.address.is_none()) {
        let has = host.nodes.get(&node.name).and_then(|is| is.address);
        if node.is_leased() {
            // Nobody loses a written one because a machine says that it has it.
            out.extend(has.filter(|has| used.insert(*has)).map(|has| (node.name.clone(), has)));
            continue;
        }
        let range = range(lab, node, subnet)?;
        match has.filter(|has| range.contains(has) && used.insert(*has)) {
            Some(has) => drop(out.insert(node.name.clone(), has)),
            None => new.push((node, range)),
        }
    }
    for (node, range) in new {
        let address = range.from(&node.name).find(|address| used.insert(*address)).ok_or_else(|| {
            Error::new(
                Kind::Config,
                format!("there is no free address for the node `{}` in {}", node.name, range.network),
            )
        })?;
        out.insert(node.name.clone(), address);
    }
    Ok(out)
}

fn written(lab: &Lab, subnet: &Subnet) -> Result<BTreeMap<String, Ipv4Addr>> {
    let mut out = BTreeMap::new();
    for (name, node) in &lab.nodes {
        let Some(address) = node.address else { continue };
        let inside = |address: &Ipv4Addr| node.provider != Provider::Docker || subnet.holds(*address);
        let resolved = address.resolve(subnet).filter(inside).ok_or_else(|| {
            Error::new(
                Kind::Config,
                format!("nodes/{name}/node.toml: address: `{address}` is not in the lab's subnet {subnet}"),
            )
            .hint(
                "`[network] subnet` in lap.toml sets the subnet; an existing network keeps its own until `lap destroy`",
            )
        })?;
        out.insert(name.clone(), resolved);
    }
    Ok(out)
}

/// Where a node without a written address may be.
struct Range {
    network: Subnet,
    last: u32,
}

impl Range {
    fn contains(&self, address: &Ipv4Addr) -> bool {
        let offset = u32::from(*address).wrapping_sub(u32::from(self.network.base));
        (FIRST..=self.last).contains(&offset)
    }

    /// All of it, from the place on that the name says: in the upper half, where people who write addresses come last.
    fn from(&self, name: &str) -> impl Iterator<Item = Ipv4Addr> + use<'_> {
        let hash = Sha256::digest(name);
        let hash = hash.iter().take(4).fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        let middle = u32::midpoint(FIRST, self.last);
        let start = middle + hash % (self.last - middle + 1);
        (start..=self.last).chain(FIRST..start).filter_map(|offset| self.network.nth(offset))
    }
}

/// The first address is the router's.
const FIRST: u32 = 2;

fn range(lab: &Lab, node: &Node, subnet: &Subnet) -> Result<Range> {
    let last = |network: &Subnet| (u32::MAX >> network.prefix) - 1;
    if node.provider != Provider::Vagrant {
        return Ok(Range { network: *subnet, last: last(subnet) });
    }
    let network = network::beside(node, lab.nodes.values(), lab.subnet).ok_or_else(|| {
        Error::new(Kind::Config, format!("no machine other than the node `{}` has an address", node.name))
            .hint("write a full `address` in its node.toml")
    })?;
    // libvirt's DHCP has the last one, for machines that it was not told of.
    Ok(Range { network, last: last(&network) - 1 })
}
