//! Refuses a recovery that would replace the data of a lab that exists: the nodes themselves are asked, since the machine that
//! recovers has no record of them.

use std::time::Duration;

use lap_base::error::{Error, Kind, Result};

use crate::{
    config::model::{Environment, Node, Provider},
    drivers::{
        self,
        node::{Machines, docker},
    },
    wire::protocol::NodeFacts,
    workspace::Workspace,
};

/// How long a machine may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks that no node of these environments exists with data.
///
/// # Errors
/// As [`find`]; or a node exists: with its place.
pub async fn refuse(workspace: &Workspace, environments: &[&Environment], reached: bool) -> Result<()> {
    let found = find(workspace, environments, reached).await?;
    if found.is_empty() {
        return Ok(());
    }
    let lab = &workspace.lab.name;
    let all_containers = workspace.lab.nodes.values().all(|node| node.provider == Provider::Docker);
    let copy = all_containers.then_some("`lap --lab NAME recover …` makes a copy beside it, with another lab name");
    let message = format!("the lab `{lab}` exists, and the recovery would replace its data: {}", found.join(", "));
    let error = Error::new(Kind::Refused, message)
        .hint("`lap recover --workspace-only …` brings back the workspace and its keys, and changes no node")
        .hint("to replace an environment, run `lap destroy ENVIRONMENT` in such a workspace (it removes the data), then recover it");
    Err(copy.into_iter().fold(error, Error::hint))
}

/// The nodes of these environments that exist with data, a sentence each. `reached`: a machine that does not answer is an error; otherwise
/// it is left out, because no data is replaced before it is reached.
///
/// # Errors
/// It is not known whether a node exists.
pub async fn find(workspace: &Workspace, environments: &[&Environment], reached: bool) -> Result<Vec<String>> {
    if environments.is_empty() {
        return Ok(Vec::new());
    }
    let machines = drivers::node::observe(&workspace.lab).await?;
    let volumes = match &machines.docker {
        Some(docker) => docker::volumes(docker, &workspace.lab.name).await?.into_iter().collect(),
        None => Vec::new(),
    };
    let mut found = Vec::new();
    for node in environments.iter().flat_map(|environment| workspace.nodes(&environment.name)) {
        if node.provider == Provider::Ssh {
            match machine(workspace, &machines, node).await {
                Ok(is) => found.extend(is),
                Err(error) if reached => return Err(error),
                Err(_) => {}
            }
            continue;
        }
        match machines.facts.vm.known([&node.name]) {
            Err(error) if reached => return Err(error),
            Err(_) => {}
            Ok(()) => found.extend(made(&workspace.lab.name, &machines, &volumes, node)),
        }
    }
    Ok(found)
}

/// A node that lap made, or what is left of it.
fn made(lab: &str, machines: &Machines, volumes: &[String], node: &Node) -> Option<String> {
    let name = &node.name;
    let at = node.vm.host.as_deref().map_or_else(|| "on this machine".to_owned(), |host| format!("on `{host}`"));
    if let Some(state) = machines.facts.nodes.get(name) {
        return Some(format!("the node `{name}` {at} is {}", state.state));
    }
    let volume = docker::volume_names(lab, name).iter().any(|volume| volumes.contains(volume));
    (volume || machines.facts.vm.disks.contains(name)).then(|| format!("the data of the node `{name}` is {at}"))
}

/// A machine that lap did not make: what it runs, or ran.
async fn machine(workspace: &Workspace, machines: &Machines, node: &Node) -> Result<Option<String>> {
    let (_, addresses) = workspace.addresses(&machines.facts)?;
    let Some(address) = addresses.get(&node.name) else { return Ok(None) };
    let session = workspace.connect(&workspace.keys()?, &node.name, *address, PATIENCE).await?;
    let facts = session.agent().facts().await?;
    let destination = node.ssh.as_ref().map_or_else(|| address.to_string(), |ssh| ssh.destination.to_string());
    Ok(holds(&facts).map(|what| format!("the node `{}` at `{destination}` has {what}", node.name)))
}

/// What a node holds that a restore would replace; `None`: it is new.
fn holds(facts: &NodeFacts) -> Option<&'static str> {
    match facts {
        facts if !facts.containers.is_empty() => Some("containers"),
        facts if !facts.recorded.is_absent() => Some("a record of what ran"),
        facts if facts.snapshots.count > 0 => Some("snapshots"),
        _ => None,
    }
}
