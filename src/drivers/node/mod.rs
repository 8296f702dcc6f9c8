//! Providers: how lap gets a node. They differ only in that; what happens on a node is the same for all.

pub mod docker;
pub mod images;
pub mod machine;
pub mod vm;

use bollard::Docker;

use self::docker::{HostFacts, NodeState};
use crate::{
    config::model::{Address, Hypervisor, Lab, Node, Provider},
    error::Result,
};

/// The machines of a lab, and what answers for those that are containers.
pub struct Machines {
    /// `None`: no node of the lab is a container, so that nothing was asked.
    pub docker: Option<Docker>,
    pub facts: HostFacts,
}

/// Looks at the machines of a lab: only at what it has, and without waking anything.
///
/// # Errors
/// Something that holds nodes of this lab does not answer.
pub async fn observe(lab: &Lab) -> Result<Machines> {
    let of = |provider: Provider| lab.nodes.values().filter(move |node| node.provider == provider);
    let (docker, mut facts) = if of(Provider::Docker).next().is_some() {
        let docker = super::docker::local().await?;
        let facts = docker::observe(&docker, &lab.name).await?;
        (Some(docker), facts)
    } else {
        (None, HostFacts::default())
    };
    let full = |node: &Node| match node.address {
        Some(Address::Full(address)) => Some(address),
        _ => None,
    };
    for hypervisor in [Hypervisor::Libvirt, Hypervisor::Virtualbox] {
        let nodes: Vec<_> = of(Provider::Vagrant)
            .filter(|node| node.vm.hypervisor == hypervisor)
            .filter_map(|node| Some((node.name.clone(), full(node)?)))
            .collect();
        if !nodes.is_empty() {
            facts.nodes.extend(vm::observe(hypervisor, &lab.name, &nodes, &mut facts.vm).await?);
        }
    }
    for node in of(Provider::Ssh) {
        let address = full(node);
        // Whether it answers shows when it is spoken to.
        let state = NodeState { running: true, state: "there".into(), spec: String::new(), address, created: 0 };
        facts.nodes.insert(node.name.clone(), state);
    }
    Ok(Machines { docker, facts })
}
