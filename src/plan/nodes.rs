//! First half of `up`: what it takes until every node of an environment answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use lap_base::error::{Error, Kind, Result};

use super::{
    Action, Plan,
    addresses::addresses,
    machines::{self, MachineChange},
};
use crate::{
    config::{
        model::{Hypervisor, Lab, Node, Port, Provider, Rootfs, Subnet},
        network,
    },
    drivers::node::docker::{DockerSpec, HostFacts, spec_identity},
};

/// What is known beside the workspace.
pub struct NodeInputs<'a> {
    pub host: &'a HostFacts,
    /// Identity of the nodes' root file system.
    pub rootfs_identity: &'a str,
    /// Root file systems of containers that are not cached yet: made beside the node's.
    pub missing_rootfs: Vec<(String, Rootfs)>,
}

/// The tag of the image that nodes are made from.
pub fn image_tag(identity: &str) -> String {
    format!("lap/node:{identity}")
}

/// The lab's subnet: the one its network has, the one `lap.toml` names, or one that is free here.
///
/// # Errors
/// No range is free.
pub fn subnet(lab: &Lab, host: &HostFacts) -> Result<Subnet> {
    if let Some(subnet) = host.subnet.or(lab.subnet).or_else(|| around_machines(lab)) {
        return Ok(subnet);
    }
    // Labs that are made at the same time begin to look at different places.
    let start = lab.name.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 256;
    (0..256)
        .map(|n| Subnet { base: Ipv4Addr::new(10, 86, ((start + n) % 256) as u8, 0), prefix: 24 })
        .find(|candidate| !host.taken.iter().any(|taken| overlap(candidate, taken)))
        .ok_or_else(|| {
            Error::new(Kind::Host, "10.86.0.0/16 has no free range on this machine")
                .hint("set one with `[network] subnet` in lap.toml")
        })
}

/// A lab without containers has its machines' network: no other is made.
fn around_machines(lab: &Lab) -> Option<Subnet> {
    let alone = lab.nodes.values().all(|node| node.provider != Provider::Docker);
    let address = lab.nodes.values().find_map(|node| node.address?.full()).filter(|_| alone)?;
    Some(network::around(address, None))
}

fn overlap(a: &Subnet, b: &Subnet) -> bool {
    let shorter = a.prefix.min(b.prefix);
    let mask = u32::MAX.checked_shl(u32::from(32 - shorter)).unwrap_or(0);
    u32::from(a.base) & mask == u32::from(b.base) & mask
}

/// What a node's container is made from.
pub fn spec(lab: &Lab, node: &Node, address: Ipv4Addr, host: &HostFacts, rootfs_identity: &str) -> DockerSpec {
    let master = lab.environments.get(&node.environment).is_some_and(|env| env.master == node.name);
    let ports: BTreeSet<Port> = lab
        .containers
        .values()
        .filter(|container| master && container.scale > 0)
        .flat_map(|container| container.ports.iter().filter(|port| !port.node_only).cloned())
        .collect();
    DockerSpec {
        lab: lab.name.clone(),
        node: node.name.clone(),
        image: image_tag(rootfs_identity),
        address,
        cpus: node.cpus,
        memory: node.memory,
        publish: node.publish.map(|address| (address, ports)),
        v2: host.v2,
    }
}

/// Plans the nodes of `environment`.
///
/// # Errors
/// An address that does not fit, or no free subnet.
pub fn up(lab: &Lab, environment: &str, inputs: &NodeInputs<'_>) -> Result<Plan> {
    let mut plan = Plan::new(environment);
    let subnet = subnet(lab, inputs.host)?;
    let addresses = addresses(lab, &subnet, inputs.host)?;
    let tag = image_tag(inputs.rootfs_identity);
    let mut before = Vec::new();
    let made = |node: &&Node| node.environment == environment && node.provider == Provider::Docker;
    let nodes: Vec<&Node> = lab.nodes.values().filter(made).collect();
    let wished = |node: &Node| spec(lab, node, addresses[&node.name], inputs.host, inputs.rootfs_identity);
    let to_make: Vec<&&Node> = nodes
        .iter()
        .filter(|node| inputs.host.nodes.get(&node.name).is_none_or(|is| is.spec != spec_identity(&wished(node))))
        .collect();
    if !to_make.is_empty() {
        if !inputs.host.images.contains(&tag) {
            let why = if inputs.host.images.is_empty() { "there is none" } else { "its definition changed" };
            before.push(plan.push(Action::MakeNodeImage { tag, rootfs: lab.rootfs.clone() }, why, []));
        }
        if inputs.host.subnet.is_none() {
            before.push(plan.push(Action::MakeNetwork { subnet }, "there is none", []));
        }
    }
    for node in nodes {
        let name = node.name.clone();
        match inputs.host.nodes.get(&name) {
            None => {
                let made =
                    plan.push(Action::MakeNode { node: name.clone(), replace: false }, "there is none", before.clone());
                plan.push(Action::AwaitNode { node: name }, "it boots", [made]);
            }
            Some(is) if is.spec != spec_identity(&wished(node)) => {
                let made = plan.push(
                    Action::MakeNode { node: name.clone(), replace: true },
                    "its definition changed",
                    before.clone(),
                );
                plan.push(Action::AwaitNode { node: name }, "it boots", [made]);
            }
            Some(is) if !is.running => {
                let started =
                    plan.push(Action::StartNode { node: name.clone() }, format!("it is {}", is.state), before.clone());
                plan.push(Action::AwaitNode { node: name }, "it boots", [started]);
            }
            Some(_) => {}
        }
    }
    // A machine that exists is made a node by `lap node prepare`: that installs packages, so it is asked for.
    virtual_machines(lab, environment, inputs.host, &addresses, &mut plan)?;
    if !plan.steps.is_empty() {
        for (of, rootfs) in &inputs.missing_rootfs {
            plan.push(Action::MakeRootfs { of: of.clone(), rootfs: rootfs.clone() }, "not in the cache", []);
        }
    }
    Ok(plan)
}

/// Plans the nodes that are virtual machines.
fn virtual_machines(
    lab: &Lab,
    environment: &str,
    host: &HostFacts,
    addresses: &BTreeMap<String, Ipv4Addr>,
    plan: &mut Plan,
) -> Result<()> {
    // The first machine of a new box brings it to the hypervisor, at the others' place, too.
    let mut first: BTreeMap<(Option<String>, Hypervisor, String), usize> = BTreeMap::new();
    host.vm.known(lab.nodes.values().filter(|node| node.environment == environment).map(|node| &node.name))?;
    for node in lab.nodes.values().filter(|node| node.environment == environment) {
        let Some(desired) = machines::spec(lab, node, addresses) else { continue };
        let name = node.name.clone();
        let (action, why) = match host.nodes.get(&name) {
            None => (Action::MakeNode { node: name.clone(), replace: false }, "there is none".to_owned()),
            Some(is) => match machines::change(serde_json::from_str(&is.spec).ok().as_ref(), &desired) {
                MachineChange::Impossible(why) => return Err(Error::new(Kind::Config, why)),
                MachineChange::Rebuild(why) => (Action::MakeNode { node: name.clone(), replace: true }, why),
                MachineChange::Restart(why) if is.running => (Action::RestartNode { node: name.clone() }, why),
                MachineChange::None if is.running => continue,
                MachineChange::Restart(why) => {
                    (Action::StartNode { node: name.clone() }, format!("it is {}: {why}", is.state))
                }
                MachineChange::None => (Action::StartNode { node: name.clone() }, format!("it is {}", is.state)),
            },
        };
        let (hypervisor, on) = (desired.hypervisor, desired.host.clone());
        let making = matches!(action, Action::MakeNode { .. }) && !host.vm.has_box(&desired);
        let place = (on.clone(), hypervisor, desired.base.clone());
        let after = match (making, first.get(&place)) {
            (false, _) => Vec::new(),
            (true, Some(first)) => vec![*first],
            (true, None) => {
                let (action, why) = match desired.foreign {
                    Some(foreign) => (Action::FetchBox { foreign, hypervisor, host: on }, "the host does not have it"),
                    None => (Action::MakeBox { hypervisor, host: on }, "Vagrant does not have it"),
                };
                vec![plan.push(action, why, [])]
            }
        };
        let step = plan.push(action, why, after);
        if making {
            first.entry(place).or_insert(step);
        }
        plan.push(Action::AwaitNode { node: name }, "it boots", [step]);
    }
    Ok(())
}
