//! Providers: how lap gets a node. They differ only in that; what happens on a node is the same for all.

pub mod docker;
pub mod images;
pub mod machine;

use bollard::Docker;

use self::docker::{HostFacts, NodeState};
use crate::{
    config::model::{Address, Lab, Provider},
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
    for node in of(Provider::Ssh) {
        let address = node.address.and_then(|address| match address {
            Address::Full(address) => Some(address),
            Address::Offset(_) => None,
        });
        // Whether it answers shows when it is spoken to.
        let state = NodeState { running: true, state: "there".into(), spec: String::new(), address, created: 0 };
        facts.nodes.insert(node.name.clone(), state);
    }
    Ok(Machines { docker, facts })
}
