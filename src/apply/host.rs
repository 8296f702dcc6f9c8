//! Does what concerns nodes as a whole, on the machine they live on.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use async_trait::async_trait;
use bollard::Docker;
use lap_base::{
    archive::pack,
    error::{Error, Kind, Result},
};

use super::{
    Perform,
    joining::{BOOT, binary, order, ready_in},
    machine, vm,
};
use crate::{
    config::model::{Node, Provider},
    drivers::{
        boxes,
        node::{
            docker::{self, HostFacts},
            vm::machine as vm_machine,
        },
        rootfs,
        site::Site,
    },
    keys::Keys,
    plan::{self, Action},
    report::LineSink,
    wire::machine::config_text,
    workspace::Workspace,
};

/// Performs on this machine's Docker.
pub struct Host {
    pub workspace: Arc<Workspace>,
    /// Not needed to take something away.
    pub keys: Option<Arc<Keys>>,
    /// `None`: no node of the lab is a container.
    pub docker: Option<Docker>,
    pub facts: HostFacts,
    pub addresses: BTreeMap<String, Ipv4Addr>,
}

#[async_trait]
impl Perform for Host {
    async fn perform(&self, action: &Action, line: &LineSink<'_>) -> Result<()> {
        let lab = &self.workspace.lab;
        match action {
            Action::MakeRootfs { rootfs, .. } => {
                rootfs::make(&self.workspace.cache, rootfs, line).await?;
            }
            Action::MakeNodeImage { tag, rootfs } => {
                let archive = rootfs::make(&self.workspace.cache, rootfs, line).await?;
                line("import");
                docker::make_image(self.docker()?, &archive, tag).await?;
            }
            Action::MakeNetwork { subnet } => docker::make_network(self.docker()?, &lab.name, *subnet).await?,
            Action::PackBox { hypervisor } => {
                boxes::make(&self.workspace.cache, &lab.rootfs, *hypervisor, line).await?;
            }
            Action::MakeBox { hypervisor, host } => {
                vm::make_box(&self.workspace, *hypervisor, host.as_deref(), line).await?;
            }
            Action::FetchBox { foreign, hypervisor, host } => {
                vm_machine::fetch_box(&Site::of(host.as_deref()), *hypervisor, foreign, line).await?;
            }
            Action::MakeNode { node, replace } if self.is_vm(node)? => {
                let running = self.facts.nodes.get(node).is_some_and(|is| is.running);
                let replace = replace.then_some(running);
                vm::up(&self.workspace, self.keys()?, self.node(node)?, &self.addresses, replace, line).await?;
            }
            Action::StartNode { node } | Action::RestartNode { node } if self.is_vm(node)? => {
                if matches!(action, Action::RestartNode { .. }) {
                    self.stop_vm(node, line).await?;
                }
                vm::up(&self.workspace, self.keys()?, self.node(node)?, &self.addresses, None, line).await?;
            }
            Action::StopNode { node } if self.is_vm(node)? => self.stop_vm(node, line).await?,
            Action::RemoveNode { node } if self.is_vm(node)? => {
                let running = self.facts.nodes.get(node).is_some_and(|is| is.running);
                vm_machine::remove(&vm::desired(&self.workspace, self.node(node)?, &self.addresses)?, running, line)
                    .await?;
            }
            Action::RemoveNodeData { node } if self.is_vm(node)? => {
                let site = self.site(node)?;
                vm_machine::remove_data(&site, &lab.name, node, self.node(node)?.vm.hypervisor).await?;
            }
            Action::MakeNode { node, .. } => {
                let spec = plan::nodes::spec(
                    lab,
                    self.node(node)?,
                    self.address(node)?,
                    &self.facts,
                    &self.workspace.rootfs_identity(),
                );
                docker::create(self.docker()?, &spec, self.files(node)?).await?;
                docker::start(self.docker()?, &lab.name, node).await?;
            }
            Action::StartNode { node } => {
                // The binary and the keys may be newer than what it was stopped with.
                docker::upload(self.docker()?, &lab.name, node, self.files(node)?).await?;
                docker::start(self.docker()?, &lab.name, node).await?;
            }
            Action::AwaitNode { node } => {
                // Vagrant has waited until it could log in; what is slow after that is Docker.
                let site = self.site(node)?;
                let patience = if self.is_vm(node)? { vm_machine::patience(&site).await? } else { BOOT };
                let answers = async {
                    let address = match self.node(node)? {
                        leased if leased.is_leased() => vm::leased(&self.workspace, leased, patience).await?,
                        _ => self.address(node)?,
                    };
                    let session = self.workspace.connect(self.keys()?, node, address, patience).await?;
                    ready_in(&session.agent(), patience).await
                };
                match answers.await {
                    Err(error) if self.is_vm(node)? => {
                        return Err(vm_machine::with_console(error, &site, &lab.name, node).await);
                    }
                    answered => answered?,
                }
            }
            Action::StopNode { node } => docker::stop(self.docker()?, &lab.name, node).await?,
            Action::RemoveNode { node } => docker::remove(self.docker()?, &lab.name, node).await?,
            Action::RemoveNodeData { node } => docker::remove_data(self.docker()?, &lab.name, node).await?,
            Action::RemoveNetwork => docker::remove_network(self.docker()?, &lab.name).await?,
            Action::LeaveMachine { node, data } => {
                machine::leave(&self.workspace, self.node(node)?, *data, line).await?;
            }
            other => return Err(Error::new(Kind::Other, format!("not a step for this machine: {other}"))),
        }
        Ok(())
    }
}

impl Host {
    fn docker(&self) -> Result<&Docker> {
        self.docker.as_ref().ok_or_else(|| Error::new(Kind::Host, "this machine's Docker was not queried"))
    }

    fn keys(&self) -> Result<&Keys> {
        self.keys.as_deref().ok_or_else(|| Error::new(Kind::Keys, "the keys of this workspace were not read"))
    }

    fn is_vm(&self, name: &str) -> Result<bool> {
        Ok(self.node(name)?.provider == Provider::Vagrant)
    }

    /// Where a node's machine is made.
    fn site(&self, name: &str) -> Result<Site> {
        Ok(Site::of(self.node(name)?.vm.host.as_deref()))
    }

    async fn stop_vm(&self, node: &str, line: &LineSink<'_>) -> Result<()> {
        let site = self.site(node)?;
        vm_machine::stop(&site, &self.workspace.lab.name, node, self.node(node)?.vm.hypervisor, line).await
    }

    fn node(&self, name: &str) -> Result<&Node> {
        let node = self.workspace.lab.nodes.get(name);
        node.ok_or_else(|| Error::new(Kind::Config, format!("there is no node `{name}`")))
    }

    fn address(&self, node: &str) -> Result<Ipv4Addr> {
        let address = self.addresses.get(node).copied();
        address.ok_or_else(|| Error::new(Kind::Config, format!("the node `{node}` has no address")))
    }

    /// What a node is given before its first start: the binary, who it is, its host key, and who may log in.
    fn files(&self, node: &str) -> Result<Vec<u8>> {
        let order = order(&self.workspace, self.keys()?, self.node(node)?, &self.addresses)?;
        let config = config_text(&order.config)?;
        let (authorized, host_key) = (&order.authorized_keys, &order.host_key);
        pack([
            ("usr/local/bin/lap", 0o755, binary()?.as_slice()),
            ("var/lib/lap/node.json", 0o600, config.as_slice()),
            ("var/lib/lap/ssh/host_ed25519_key", 0o600, host_key.expose().as_bytes()),
            ("var/lib/lap/ssh/authorized_keys", 0o600, authorized.as_bytes()),
        ])
    }
}
