//! Every port of a node belongs to one container. All containers run on each environment's master.

use std::collections::HashMap;

use crate::config::{
    lines::element,
    model::{NetworkMode, Protocol, Provider, Role},
    problem::Ledger,
    workspace::WorkspaceFiles,
};

pub fn check(workspace: &WorkspaceFiles, ledger: &Ledger) {
    let mut taken: HashMap<(u16, Protocol), &str> = HashMap::new();
    for (name, read) in &workspace.containers {
        let container = &read.value.container;
        let Some(file) = read.file.as_ref().filter(|_| container.scale > 0) else { continue };
        for (i, port) in &read.value.lists.ports {
            let say = |message: String| ledger.key(file, element("ports", *i), message);
            let written = format!("{}/{}", port.host, port.protocol);
            if container.network_mode == NetworkMode::Host && port.host != port.container {
                say(format!(
                    "with `network_mode = \"host\"` a port is not mapped: write `{}:{}/{}`",
                    port.container, port.container, port.protocol
                ));
            }
            if container.network_mode == NetworkMode::Host && port.node_only {
                say("with `network_mode = \"host\"` the program chooses its addresses: remove `127.0.0.1:`".to_owned());
            }
            if (port.host, port.protocol) == (22, Protocol::Tcp) {
                say("port `22/tcp` belongs to the node's own sshd: write another host port, e.g. `2200:22`".to_owned());
            } else if (port.host, port.protocol) == (7022, Protocol::Tcp) && beside(workspace) {
                say("port `7022/tcp` belongs to lap's sshd on machines with an sshd of their own: write another host port"
                    .to_owned());
            } else if let Some(first) = taken.get(&(port.host, port.protocol)) {
                say(if first == name {
                    format!("port `{written}` is written twice: remove one")
                } else {
                    format!("port `{written}` is taken by container `{first}`: write another host port")
                });
            } else {
                taken.insert((port.host, port.protocol), name);
            }
        }
    }
    if !taken.is_empty() {
        publish(workspace, ledger);
    }
}

/// Some machine has an sshd that is not lap's.
fn beside(workspace: &WorkspaceFiles) -> bool {
    let mut nodes = workspace.nodes.values().map(|read| &read.value.node);
    nodes.any(|node| node.provider == Provider::Ssh || node.is_foreign())
}

/// Two masters run the same containers, so they cannot have their ports on one address.
fn publish(workspace: &WorkspaceFiles, ledger: &Ledger) {
    let mut taken = HashMap::new();
    for (name, read) in &workspace.nodes {
        let master = read.value.role == Some(Role::Master);
        let (Some(address), Some(file), true) = (read.value.node.publish, &read.file, master) else { continue };
        if let Some(first) = taken.get(&address) {
            let message = format!("`{address}` has the ports of node `{first}`: write another address of the host");
            ledger.key(file, "publish", message);
        } else {
            taken.insert(address, name);
        }
    }
}
