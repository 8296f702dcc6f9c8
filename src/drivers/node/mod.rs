//! Providers: how lap gets a node. They differ only in that; what happens on a node is the same for all.

pub mod docker;
pub mod images;
pub mod machine;
pub mod state;
pub mod vm;

use std::collections::BTreeMap;

use bollard::Docker;
use futures_util::future::join_all;
use lap_base::error::Result;

use self::{docker::HostFacts, state::NodeState};
use super::site::Site;
use crate::config::model::{Hypervisor, Lab, Node, Provider};

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
        let docker = crate::docker::local().await?;
        let facts = docker::observe(&docker, &lab.name).await?;
        (Some(docker), facts)
    } else {
        (None, HostFacts::default())
    };
    let full = |node: &Node| node.address?.full();
    let mut groups = BTreeMap::<(Option<&str>, Hypervisor), Vec<&Node>>::new();
    for node in of(Provider::Vagrant) {
        groups.entry((node.vm.host.as_deref(), node.vm.hypervisor)).or_default().push(node);
    }
    let look = |((host, hypervisor), nodes): (_, Vec<_>)| async move {
        let mut seen = vm::VmFacts::default();
        let states = vm::observe(&Site::of(host), hypervisor, &lab.name, &nodes, &mut seen).await;
        (host, nodes, seen, states)
    };
    for (host, nodes, seen, states) in join_all(groups.into_iter().map(look)).await {
        match states {
            Ok(states) => facts.nodes.extend(states),
            Err(error) if host.is_none() => return Err(error),
            // What is elsewhere goes on.
            Err(error) => {
                for node in nodes {
                    let state = format!("unknown ({error})");
                    let is = NodeState { state, address: full(node), ..NodeState::default() };
                    facts.nodes.insert(node.name.clone(), is);
                    facts.vm.silent.insert(node.name.clone(), (error.to_string(), error.hints.clone()));
                }
            }
        }
        facts.vm.boxes.extend(seen.boxes);
        facts.vm.elsewhere.extend(seen.elsewhere);
        facts.vm.disks.extend(seen.disks);
    }
    for node in of(Provider::Ssh) {
        let address = full(node);
        // Whether it answers shows when it is spoken to.
        let state = NodeState { running: true, state: "there".into(), spec: String::new(), address, created: 0 };
        facts.nodes.insert(node.name.clone(), state);
    }
    Ok(Machines { docker, facts })
}
