//! Virtual machines: what a node of the workspace means for its hypervisor.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use lap_base::error::{Error, Kind, Result};
use tokio::time::Instant;

use super::{
    joining::{binary, order},
    machine::take_in,
};
use crate::{
    config::model::{Hypervisor, Node},
    drivers::{
        boxes,
        node::vm::{
            self,
            machine::{self, Parts},
            spec::VmSpec,
        },
        site::Site,
    },
    keys::Keys,
    plan::machines::spec,
    report::LineSink,
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
    line: &LineSink<'_>,
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
    line: &LineSink<'_>,
) -> Result<()> {
    let spec = desired(workspace, node, addresses)?;
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
pub fn desired(workspace: &Workspace, node: &Node, addresses: &BTreeMap<String, Ipv4Addr>) -> Result<VmSpec> {
    spec(&workspace.lab, node, addresses)
        .ok_or_else(|| Error::new(Kind::Other, format!("the node `{}` is not a virtual machine", node.name)))
}

/// Waits until a machine in the office's network has an address there.
///
/// # Errors
/// Nobody gave it one.
pub async fn leased(workspace: &Workspace, node: &Node, patience: Duration) -> Result<Ipv4Addr> {
    let (site, until) = (Site::of(node.vm.host.as_deref()), Instant::now() + patience);
    loop {
        let said = vm::leased(&site, &workspace.lab.name, node).await;
        match said {
            Ok(Some(address)) => return Ok(address),
            said if Instant::now() > until => return Err(unleased(node, patience, said.err())),
            _ => tokio::time::sleep(BETWEEN).await,
        }
    }
}

/// Between two questions to a machine that has no address yet.
const BETWEEN: Duration = Duration::from_secs(2);

fn unleased(node: &Node, patience: Duration, silent: Option<Error>) -> Error {
    let (name, bridge, waited) = (&node.name, node.vm.bridge.as_deref().unwrap_or_default(), patience.as_secs());
    match silent {
        Some(why) => Error::new(Kind::Node, format!("`{name}` did not report its address within {waited} s: {why}")),
        None => {
            let message = format!("no DHCP server answered `{name}` on the bridge `{bridge}` within {waited} s");
            Error::new(Kind::Node, message)
                .hint(format!("check that `{bridge}` connects to the office network, and that its DHCP server has free addresses; `lap doctor` shows whether Docker blocks the traffic"))
                .hint(format!("or set `address` in nodes/{name}/node.toml"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_lease_says_which_bridge() {
        let lab = crate::config::load(std::path::Path::new(env!("CARGO_MANIFEST_DIR")), None).unwrap();
        let mut node = lab.nodes.values().next().unwrap().clone();
        (node.name, node.vm.bridge) = ("worker".into(), Some("br0".into()));
        let error = unleased(&node, Duration::from_secs(180), None);
        assert_eq!(error.message, "no DHCP server answered `worker` on the bridge `br0` within 180 s");
        assert!(error.hints[0].contains("`br0`") && error.hints[1].contains("nodes/worker/node.toml"), "{error:?}");
        let error = unleased(&node, Duration::from_secs(180), Some(Error::new(Kind::Host, "not connected")));
        assert_eq!(error.message, "`worker` did not report its address within 180 s: not connected");
    }
}
