//! Every machine's address is its own, and in the subnet; and there is a network for those without.

use std::{collections::HashMap, net::Ipv4Addr, rc::Rc};

use crate::config::{
    file::SourceFile,
    lines::child,
    model::{Address, Hypervisor, Provider, Subnet},
    network,
    problem::Ledger,
    workspace::WorkspaceFiles,
};

/// An address, and where it is written.
struct Claim<'a> {
    file: &'a Rc<SourceFile>,
    key: String,
    owner: String,
    address: Address,
    /// It is where it is, whatever the lab's subnet.
    elsewhere: bool,
}

/// What two claims are compared by: an offset is only the same as a full address when the subnet is known.
#[derive(PartialEq, Eq, Hash)]
enum Spot {
    Offset(u8),
    Address(Ipv4Addr),
}

pub fn check(workspace: &WorkspaceFiles, ledger: &Ledger) {
    let subnet = workspace.lap.value.subnet;
    let unset = workspace.lap.file.is_some() && !workspace.lap.value.network;
    let mut taken: HashMap<Spot, String> = HashMap::new();
    for claim in claims(workspace) {
        if let Some(message) = subnet.filter(|_| !claim.elsewhere).and_then(|subnet| outside(claim.address, &subnet)) {
            ledger.key(claim.file, claim.key, message);
            continue;
        }
        // Lap only picks a subnet for nodes: a host's or pc's own address may be any.
        if unset && !claim.elsewhere && claim.key == "address" && matches!(claim.address, Address::Full(_)) {
            let message = format!(
                "`{}` needs a `subnet` under `[network]` in lap.toml: write one there, or write an offset such as `.10` here",
                claim.address
            );
            ledger.key(claim.file, claim.key.clone(), message);
        }
        let spot = match (claim.address, subnet.and_then(|subnet| claim.address.resolve(&subnet))) {
            (_, Some(address)) | (Address::Full(address), None) => Spot::Address(address),
            (Address::Offset(offset), None) => Spot::Offset(offset),
        };
        if let Some(first) = taken.get(&spot) {
            let message = format!("`{}` is taken by {first}: write another address", claim.address);
            ledger.key(claim.file, claim.key, message);
        } else {
            taken.insert(spot, claim.owner);
        }
    }
    placed(workspace, ledger);
}

/// A virtual machine without an address gets one in the network of those beside it.
fn placed(workspace: &WorkspaceFiles, ledger: &Ledger) {
    let all = || workspace.nodes.values().map(|read| &read.value.node);
    for read in workspace.nodes.values().filter(|read| read.value.placed) {
        let (node, Some(file)) = (&read.value.node, &read.file) else { continue };
        let message = match (&node.vm.bridge, network::beside(node, all(), workspace.lap.value.subnet)) {
            // It says itself which one the office's DHCP gave it.
            (Some(_), _) if node.vm.foreign.is_none() && node.vm.hypervisor == Hypervisor::Libvirt => continue,
            (Some(_), _) => {
                "missing: an address from the office's DHCP server needs libvirt and lap's own box: write a full address, e.g. `192.168.57.10`"
            }
            (None, Some(_)) => continue,
            (None, None) => {
                "missing: no other machine of the same host and hypervisor has an address that defines the network: write a full address, e.g. `192.168.57.10`"
            }
        };
        ledger.key(file, "address", message);
    }
}

fn claims(workspace: &WorkspaceFiles) -> impl Iterator<Item = Claim<'_>> {
    let lap = &workspace.lap;
    let tables = [("hosts", "host", &lap.value.hosts), ("pcs", "pc", &lap.value.pcs)];
    let people = lap.file.iter().flat_map(move |file| {
        tables.into_iter().flat_map(move |(table, word, machines)| {
            machines.iter().map(move |(name, address)| Claim {
                file,
                key: child(table, name),
                owner: format!("{word} `{name}`"),
                address: *address,
                elsewhere: false,
            })
        })
    });
    let nodes = workspace.nodes.iter().filter_map(|(name, read)| {
        let (file, address) = read.file.as_ref().zip(read.value.node.address)?;
        let elsewhere = read.value.node.provider != Provider::Docker;
        Some(Claim { file, key: "address".to_owned(), owner: format!("node `{name}`"), address, elsewhere })
    });
    people.chain(nodes)
}

fn outside(address: Address, subnet: &Subnet) -> Option<String> {
    let inside = address.resolve(subnet).is_some_and(|full| subnet.holds(full));
    if !inside {
        let last = subnet.nth((u32::MAX >> subnet.prefix) - 1)?;
        let first = subnet.nth(2)?;
        return Some(format!("`{address}` is outside the subnet `{subnet}`: write `{first}` to `{last}`"));
    }
    (address.resolve(subnet) == Some(subnet.router()))
        .then(|| format!("`{address}` is the router's address: write a higher one"))
}
