//! What a machine needs to become a node, and when it is one.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use lap_base::error::{Error, Kind, OrError, Result};

use crate::{
    config::model::{Node, Provider},
    drivers::node::{
        machine::{SSHD, SSHD_BESIDE},
        vm::spec::device,
    },
    keys::{self, Keys},
    wire::{
        machine::NodeSetup,
        protocol::{node_config::NodeConfig, request::Request},
    },
    workspace::Workspace,
};

/// How long a node may take to boot.
pub(super) const BOOT: Duration = Duration::from_secs(120);

/// What a machine must know to be this node.
///
/// # Errors
/// It has no address, or its host key cannot be made.
pub fn order(
    workspace: &Workspace,
    keys: &Keys,
    node: &Node,
    addresses: &BTreeMap<String, Ipv4Addr>,
) -> Result<NodeSetup> {
    let lab = &workspace.lab;
    let upstreams =
        lab.environments.get(&node.environment).map(|environment| workspace.upstreams(environment, addresses));
    // Where an address may change, the DNS server to ask is the master's, as anybody's.
    let own =
        if node.is_leased() { lab.environments.get(&node.environment).map(|of| &of.master) } else { Some(&node.name) };
    let address = own.and_then(|name| addresses.get(name)).copied();
    let address =
        address.ok_or_else(|| Error::new(Kind::Config, format!("the node `{}` has no address", node.name)))?;
    let ssh = node.ssh.as_ref().filter(|_| node.provider == Provider::Ssh);
    let config = NodeConfig {
        lab: lab.name.clone(),
        node: node.name.clone(),
        environment: node.environment.clone(),
        address: address.to_string(),
        disk: node.disk,
        upstreams: upstreams.unwrap_or_default().iter().map(ToString::to_string).collect(),
        sshd: match node.is_foreign() {
            true => Some(SSHD_BESIDE.into()),
            false => ssh.map(|_| SSHD.into()),
        },
        device: match node.provider {
            Provider::Vagrant => Some(device(node.vm.hypervisor).to_owned()),
            _ => ssh.and_then(|ssh| ssh.device.clone()),
        },
        filesystem: node.filesystem,
    };
    Ok(NodeSetup {
        config,
        host_key: keys.make_host_key(&node.name)?.openssh()?,
        authorized_keys: keys::authorized_keys(keys.admin().public(), &lab.operators)?,
    })
}

/// This very binary, also when its file was replaced since it was started.
///
/// # Errors
/// It cannot be read.
pub fn binary() -> Result<Vec<u8>> {
    std::fs::read("/proc/self/exe").or_error(Kind::Host, || "cannot read lap's own binary".into())
}

/// Waits until the agent's socket is there, `/data` is mounted and Docker answers.
///
/// # Errors
/// Not in time: with dockerd's last lines.
pub async fn ready(agent: &crate::wire::client::AgentClient) -> Result<()> {
    ready_in(agent, BOOT).await
}

/// The same, with another patience.
pub(super) async fn ready_in(agent: &crate::wire::client::AgentClient, patience: Duration) -> Result<()> {
    let until = tokio::time::Instant::now() + patience;
    let request = Request::Ready { seconds: patience.as_secs() };
    loop {
        // sshd answers before the agent listens.
        match agent.ask(&request, &[]).await {
            Ok(_) => return Ok(()),
            Err(error) if tokio::time::Instant::now() > until => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
