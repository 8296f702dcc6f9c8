//! Does what concerns nodes as a whole, on the machine they live on.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc, time::Duration};

use async_trait::async_trait;
use bollard::Docker;

use super::Perform;
use crate::{
    agent::{
        install::pack,
        protocol::{NodeConfig, Request},
    },
    drivers::{
        node::docker::{self, HostFacts},
        rootfs,
    },
    error::{Error, Kind, OrError, Result},
    keys::{self, Keys},
    plan::{self, Action},
    report::Line,
    workspace::Workspace,
};

/// How long a node may take to boot.
const BOOT: Duration = Duration::from_secs(120);

/// Performs on this machine's Docker.
pub struct Host {
    pub workspace: Arc<Workspace>,
    /// Not needed to take something away.
    pub keys: Option<Arc<Keys>>,
    pub docker: Docker,
    pub facts: HostFacts,
    pub addresses: BTreeMap<String, Ipv4Addr>,
}

#[async_trait]
impl Perform for Host {
    async fn perform(&self, action: &Action, line: &Line<'_>) -> Result<()> {
        let lab = &self.workspace.lab;
        match action {
            Action::MakeRootfs { rootfs, .. } => {
                rootfs::make(&self.workspace.cache, rootfs, line).await?;
            }
            Action::MakeNodeImage { tag, rootfs } => {
                let archive = rootfs::make(&self.workspace.cache, rootfs, line).await?;
                line("import");
                docker::make_image(&self.docker, &archive, tag).await?;
            }
            Action::MakeNetwork { subnet } => docker::make_network(&self.docker, &lab.name, *subnet).await?,
            Action::MakeNode { node, .. } => {
                let spec = plan::nodes::spec(
                    lab,
                    self.node(node)?,
                    self.address(node)?,
                    &self.facts,
                    &self.workspace.rootfs_identity(),
                );
                docker::create(&self.docker, &spec, self.files(node)?).await?;
                docker::start(&self.docker, &lab.name, node).await?;
            }
            Action::StartNode { node } => {
                // The binary and the keys may be newer than what it was stopped with.
                docker::upload(&self.docker, &lab.name, node, self.files(node)?).await?;
                docker::start(&self.docker, &lab.name, node).await?;
            }
            Action::AwaitNode { node } => {
                let address = self.address(node)?;
                let session = self.workspace.connect(self.keys()?, node, address, BOOT).await?;
                ready(&session.agent()).await?;
            }
            Action::StopNode { node } => docker::stop(&self.docker, &lab.name, node).await?,
            Action::RemoveNode { node } => docker::remove(&self.docker, &lab.name, node).await?,
            Action::RemoveNodeData { node } => docker::remove_data(&self.docker, &lab.name, node).await?,
            Action::RemoveNetwork => docker::remove_network(&self.docker, &lab.name).await?,
            other => return Err(Error::new(Kind::Other, format!("not for this machine: {other}"))),
        }
        Ok(())
    }
}

impl Host {
    fn keys(&self) -> Result<&Keys> {
        self.keys.as_deref().ok_or_else(|| Error::new(Kind::Keys, "this workspace's keys were not read"))
    }

    fn node(&self, name: &str) -> Result<&crate::config::model::Node> {
        let node = self.workspace.lab.nodes.get(name);
        node.ok_or_else(|| Error::new(Kind::Config, format!("there is no node `{name}`")))
    }

    fn address(&self, node: &str) -> Result<Ipv4Addr> {
        let address = self.addresses.get(node).copied();
        address.ok_or_else(|| Error::new(Kind::Config, format!("the node `{node}` has no address")))
    }

    /// What a node is given before its first start: the binary, who it is, its host key, and who may log in.
    fn files(&self, node: &str) -> Result<Vec<u8>> {
        let lab = &self.workspace.lab;
        let wish = self.node(node)?;
        let upstreams = lab
            .environments
            .get(&wish.environment)
            .map(|environment| self.workspace.upstreams(environment, &self.addresses));
        let config = NodeConfig {
            lab: lab.name.clone(),
            node: node.to_owned(),
            environment: wish.environment.clone(),
            address: self.address(node)?.to_string(),
            disk: wish.disk,
            upstreams: upstreams.unwrap_or_default().iter().map(ToString::to_string).collect(),
        };
        let config = serde_json::to_vec_pretty(&config).or_error(Kind::Other, || "node.json".into())?;
        let authorized = keys::authorized_keys(self.keys()?.admin().public(), &lab.operators)?;
        let host_key = self.keys()?.make_host_key(node)?.openssh()?;
        pack([
            ("usr/local/bin/lap", 0o755, binary()?.as_slice()),
            ("var/lib/lap/node.json", 0o600, config.as_slice()),
            ("var/lib/lap/ssh/host_ed25519_key", 0o600, host_key.expose().as_bytes()),
            ("var/lib/lap/ssh/authorized_keys", 0o600, authorized.as_bytes()),
        ])
    }
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
pub async fn ready(agent: &crate::agent::client::Client) -> Result<()> {
    let until = tokio::time::Instant::now() + BOOT;
    let request = Request::Ready { seconds: BOOT.as_secs() };
    loop {
        // sshd answers before the agent listens.
        match agent.ask(&request, &[]).await {
            Ok(_) => return Ok(()),
            Err(error) if tokio::time::Instant::now() > until => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
