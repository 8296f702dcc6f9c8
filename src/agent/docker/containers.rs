//! The containers that lap made on this node.

use std::collections::{BTreeMap, HashMap};

use bollard::{Docker, models::ContainerSummary, query_parameters::ListContainersOptionsBuilder};
use lap_base::error::{Error, Kind, OrError, Result};
use tokio::runtime::Handle;

use super::{connection::connect, health};
use crate::{
    agent::system::node_config::status,
    wire::{
        labels::LABEL_CONTAINER,
        protocol::{ContainerFact, Health},
    },
};

/// The names of the containers (without `infra_`) by their ids; none while Docker does not answer.
pub async fn names_by_id() -> BTreeMap<String, String> {
    let filters = HashMap::from([("label".to_owned(), vec![LABEL_CONTAINER.to_owned()])]);
    let options = ListContainersOptionsBuilder::new().filters(&filters).build();
    let Ok(docker) = connect().await else { return BTreeMap::new() };
    let list = docker.list_containers(Some(options)).await.unwrap_or_default();
    list.into_iter().filter_map(|fact| Some((fact.id?, fact.labels?.get(LABEL_CONTAINER)?.clone()))).collect()
}

/// All containers of lap, by name; one that a switch keeps is not among them.
///
/// # Errors
/// Docker does not answer.
pub async fn containers(docker: &Docker) -> Result<Vec<ContainerFact>> {
    let filters = HashMap::from([("label".to_owned(), vec![LABEL_CONTAINER.to_owned()])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let list = docker.list_containers(Some(options)).await;
    let mut facts: Vec<ContainerFact> =
        list.or_error(Kind::Node, || "cannot list containers".into())?.into_iter().filter_map(container).collect();
    // Docker runs the first check of a container only after its interval. The agent runs it now.
    let checks = facts.iter_mut().filter(|fact| fact.health == Health::Starting).map(|fact| async {
        if health::check(docker, &fact.id).await.is_ok_and(|checked| checked.passed) {
            fact.health = Health::Healthy;
        }
    });
    futures_util::future::join_all(checks).await;
    facts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(facts)
}

fn container(summary: ContainerSummary) -> Option<ContainerFact> {
    // A container that a switch put aside does not run, and belongs to the switch.
    let aside = |name: &String| name.trim_start_matches('/').starts_with(crate::wire::labels::KEPT);
    if summary.names.iter().flatten().any(aside) {
        return None;
    }
    let labels: BTreeMap<String, String> = summary.labels.unwrap_or_default().into_iter().collect();
    let status = summary.status.unwrap_or_default();
    let health = match &status {
        s if s.contains("(healthy)") => Health::Healthy,
        s if s.contains("(unhealthy)") => Health::Unhealthy,
        s if s.contains("health: starting") => Health::Starting,
        _ => Health::None,
    };
    Some(ContainerFact {
        name: labels.get(LABEL_CONTAINER)?.clone(),
        id: summary.id?,
        image: summary.image.unwrap_or_default(),
        labels,
        state: summary.state.map(|state| state.to_string()).unwrap_or_default(),
        health,
        created: summary.created.unwrap_or_default(),
        status,
    })
}

/// The containers that run, as they were made, hence in the order of what depends on what.
///
/// # Errors
/// Docker does not answer.
pub fn running(runtime: &Handle) -> Result<Vec<String>> {
    let list = async { containers(&connect().await?).await };
    let mut all = runtime.block_on(list).map_err(|error| {
        Error::new(Kind::Node, "cannot list the running containers: Docker does not answer")
            .hint(error.message)
            .hint(format!("`{}` shows details", status()))
    })?;
    all.retain(|fact| ["running", "restarting", "paused"].contains(&fact.state.as_str()));
    all.sort_by_key(|fact| fact.created);
    Ok(all.into_iter().map(|fact| fact.name).collect())
}
