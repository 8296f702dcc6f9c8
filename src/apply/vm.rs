//! Virtual machines: what a node of the workspace means for its hypervisor.

use std::{collections::BTreeMap, net::Ipv4Addr};

use super::{
    host::{binary, order},
    machine::take_in,
};
use crate::{
    config::model::{Hypervisor, Node},
    drivers::{
        boxes,
        node::vm::{self, Spec, machine, machine::Parts},
        site::Site,
    },
    error::{Error, Kind, Result},
    keys::Keys,
    plan::machines::spec,
    report::Line,
    workspace::Workspace,
};

/// Makes the box and gives it to Vagrant.
///
/// # Errors
/// A program is missing or fails.
pub async fn make_box(
    workspace: &Workspace,
    hypervisor: Hypervisor,
    host: Option<&str>,
    line: &Line<'_>,
) -> Result<()> {
    let rootfs = &workspace.lab.rootfs;
    let file = boxes::make(&workspace.cache, rootfs, hypervisor, line).await?;
    machine::add_box(&Site::of(host), hypervisor, &boxes::identity(rootfs, hypervisor), &file, line).await
}

/// Makes a node's machine, or starts it. `replace`: in place of the one there is, over its data.
///
/// # Errors
/// It does not come up.
pub async fn up(
    workspace: &Workspace,
    keys: &Keys,
    node: &Node,
    addresses: &BTreeMap<String, Ipv4Addr>,
    replace: Option<bool>,
    line: &Line<'_>,
) -> Result<()> {
    let spec = wish(workspace, node, addresses)?;
    if let Some(running) = replace {
        machine::remove(&spec, running, line).await?;
    }
    let own = workspace.lab.root.join("nodes").join(&node.name).join("Vagrantfile");
    let own = own.exists().then_some(own.as_path());
    if spec.foreign.is_some() {
        machine::up(&spec, &Parts { seed: None, key: &machine::key(&spec), own }, line).await?;
        take_in(workspace, keys, node, &spec, addresses, line).await?;
        return machine::done(&spec).await;
    }
    // Here Vagrant logs in with the `admin` key, which does not leave this machine.
    let (key, vagrant) = match &spec.host {
        None => (keys.directory().join("admin"), None),
        Some(_) => (machine::key(&spec), Some(machine::make_key(&spec).await?)),
    };
    let order = order(workspace, keys, node, addresses)?;
    let seed = vm::seed::archive(&spec, &order, vagrant.as_deref(), &binary()?)?;
    machine::up(&spec, &Parts { seed: Some(&seed), key: &key, own }, line).await?;
    machine::done(&spec).await
}

/// What a node's machine is to be.
///
/// # Errors
/// It is none.
pub fn wish(workspace: &Workspace, node: &Node, addresses: &BTreeMap<String, Ipv4Addr>) -> Result<Spec> {
    spec(&workspace.lab, node, addresses)
        .ok_or_else(|| Error::new(Kind::Other, format!("the node `{}` is no virtual machine", node.name)))
}
