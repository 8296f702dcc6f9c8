//! `lap stop`, `lap down`, `lap destroy`: each takes away more than the one before.

use std::{sync::Arc, time::Duration};

use lap_base::error::Result;

use super::{carry_out, host::Host, making::Making, master::Master, options::Options, outcome::Outcome};
use crate::{
    config::model::{Environment, Node, Provider},
    drivers::{
        self,
        node::{Machines, docker},
    },
    plan::{Action, Plan},
    release::desired_state::DesiredState,
    wire::protocol::NodeFacts,
    workspace::Workspace,
};

/// Stops and removes containers of an environment (all, or those named); their data and images stay.
///
/// # Errors
/// The node does not answer, or somebody holds its lock.
pub async fn stop(
    workspace: Arc<Workspace>,
    environment: &Environment,
    only: &std::collections::BTreeSet<String>,
    options: &Options,
) -> Result<Outcome> {
    let began = std::time::Instant::now();
    let master = Arc::new(Master::connect(workspace, environment, Duration::from_secs(2)).await?);
    let facts = master.node.facts(None).await?;
    let plan_of = |facts: &NodeFacts| {
        let mut plan = Plan::new(&environment.name);
        for fact in facts.containers.iter().filter(|fact| only.is_empty() || only.contains(&fact.name)) {
            plan.push(Action::StopContainer { container: fact.name.clone() }, format!("it is {}", fact.state), []);
        }
        plan
    };
    let mut plan = plan_of(&facts);
    let mut outcome = Outcome { master: Some(master.clone()), ..Outcome::default() };
    if !options.dry_run && !plan.steps.is_empty() {
        let held = master.node.lock(options).await?;
        let facts = master.node.client.facts().await?;
        plan = plan_of(&facts);
        master.carry_out(&plan, held, &facts, DesiredState::nothing(), Making::default(), options).await?;
    }
    outcome.plans.push(plan);
    outcome.seconds = began.elapsed().as_secs_f64();
    Ok(outcome)
}

/// Stops the containers, then the nodes. Data, images and the nodes' volumes stay.
///
/// # Errors
/// This machine's Docker does not answer, or somebody holds the node's lock.
pub async fn down(workspace: Arc<Workspace>, environment: &Environment, options: &Options) -> Result<Outcome> {
    let began = std::time::Instant::now();
    let Machines { docker: host_docker, facts: host } = drivers::node::observe(&workspace.lab).await?;
    host.vm.known(workspace.nodes(&environment.name).map(|node| &node.name))?;
    let running = |name: &str| host.nodes.get(name).is_some_and(|node| node.running);
    let mut outcome = Outcome::default();
    if running(&environment.master) {
        match stop(workspace.clone(), environment, &Default::default(), options).await {
            Ok(stopped) => outcome.plans.extend(stopped.plans),
            // A node whose inside does not answer can still be stopped from outside.
            Err(error) if error.kind.is_of_node() => outcome.notes.push(format!("{error}; stopping it from outside")),
            Err(error) => return Err(error),
        }
    }
    let mut plan = Plan::new(&environment.name);
    // A machine that lap did not make goes on running.
    let ours = workspace.nodes(&environment.name).filter(|node| node.provider != Provider::Ssh);
    for node in ours.filter(|node| running(&node.name)) {
        plan.push(Action::StopNode { node: node.name.clone() }, "it runs", []);
    }
    if !options.dry_run {
        on_host(&workspace, &plan, host, host_docker, options).await?;
    }
    outcome.plans.push(plan);
    outcome.seconds = began.elapsed().as_secs_f64();
    Ok(outcome)
}

/// Removes the nodes of an environment with all their data, and the lab's network with the last container.
///
/// # Errors
/// This machine's Docker does not answer or refuses.
pub async fn destroy(workspace: Arc<Workspace>, environment: &Environment, options: &Options) -> Result<Outcome> {
    let began = std::time::Instant::now();
    let Machines { docker: host_docker, facts: host } = drivers::node::observe(&workspace.lab).await?;
    host.vm.known(workspace.nodes(&environment.name).map(|node| &node.name))?;
    let mut plan = Plan::new(&environment.name);
    let mut last = Vec::new();
    let volumes = match &host_docker {
        Some(docker) => docker::volumes(docker, &workspace.lab.name).await?,
        None => Default::default(),
    };
    for node in workspace.nodes(&environment.name) {
        let name = node.name.clone();
        if node.provider == Provider::Ssh {
            last.push(plan.push(Action::LeaveMachine { node: name, data: true }, "it does not belong to lap", []));
            continue;
        }
        let exists = host.nodes.contains_key(&name);
        let data = host.vm.disks.contains(&name)
            || docker::volume_names(&workspace.lab.name, &name).iter().any(|volume| volumes.contains(volume));
        let mut after = Vec::new();
        if exists {
            after.push(plan.push(Action::RemoveNode { node: name.clone() }, "it exists", []));
        }
        if data {
            after = vec![plan.push(Action::RemoveNodeData { node: name }, "it exists", after)];
        }
        last.extend(after);
    }
    // Machines are not in it: one that exists would be there for ever. What the workspace does not know any more is a container.
    let in_it = |node: &Node| node.provider == Provider::Docker && node.environment != environment.name;
    let others = host.nodes.keys().any(|node| workspace.lab.nodes.get(node).is_none_or(in_it));
    if host.subnet.is_some() && !others {
        plan.push(Action::RemoveNetwork, "the lab has no nodes left", last);
    }
    if !options.dry_run {
        on_host(&workspace, &plan, host, host_docker, options).await?;
    }
    Ok(Outcome { plans: vec![plan], seconds: began.elapsed().as_secs_f64(), ..Outcome::default() })
}

async fn on_host(
    workspace: &Arc<Workspace>,
    plan: &Plan,
    facts: docker::HostFacts,
    docker: Option<bollard::Docker>,
    options: &Options,
) -> Result<()> {
    if plan.steps.is_empty() {
        return Ok(());
    }
    let performer = Arc::new(Host {
        workspace: workspace.clone(),
        keys: None,
        docker,
        facts,
        addresses: std::collections::BTreeMap::new(),
    });
    carry_out(plan, performer, &options.events, &options.stop).await.1
}
