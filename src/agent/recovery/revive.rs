//! Starts containers again that fell with their dockerd, until they run.
//!
//! A dockerd that was killed finds its containers alive at its next start, stops them, and counts that as if a person had stopped them: the
//! restart policy `unless-stopped` leaves them down. It also tries only once to start a container at its own start. Those a person had
//! stopped before have an earlier end and no error, and stay as they are.

use std::{collections::HashMap, time::Duration};

use bollard::{
    Docker,
    models::ContainerState,
    query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder},
};
use lap_base::error::{Kind, OrError, Result};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::pending;
use crate::{
    agent::{
        daemons::{containerd::Right, ports, shims},
        docker,
        lock::NodeLock,
    },
    wire::labels::LABEL_CONTAINER,
};

/// Between two tries, at first and at most.
const PAUSE: Duration = Duration::from_millis(500);
const MOST: Duration = Duration::from_secs(30);
/// How long what was interrupted comes first: it may have stopped them.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for dockerd, and starts what it stopped or could not start at its own start (`since`, unix seconds).
/// The node's `lock` is taken only for what needs it.
pub async fn revive(lock: NodeLock, since: i64) {
    let until = tokio::time::Instant::now() + PATIENCE;
    let (mut pause, mut told) = (PAUSE, None);
    loop {
        let comes_first = pending::is_pending() && tokio::time::Instant::now() < until;
        if !comes_first {
            match once(&lock, since).await {
                Ok(()) => return,
                Err(error) => {
                    if told.as_ref() != Some(&error.message) {
                        eprintln!("agent: {error}; trying again");
                        told = Some(error.message);
                    }
                    pause = (pause * 2).min(MOST);
                }
            }
        }
        tokio::time::sleep(pause).await;
    }
}

/// One try; one that does not start keeps no other from it.
async fn once(lock: &NodeLock, since: i64) -> Result<()> {
    let docker = docker::answering().await?;
    let mut all = Ok(());
    crate::agent::pool::binds::refresh_and_tell();
    for (id, name) in fallen(&docker, since).await? {
        match shims::start(&docker, &id, Right::Take(lock)).await {
            Err(error) if !is_gone(&error) => {
                if docker::port_is_taken(&error) {
                    ports::suspect(&docker).await;
                }
                all = all.and(Err(error).or_error(Kind::Node, || format!("cannot start `{name}` again")));
            }
            _ => {}
        }
    }
    all
}

fn is_gone(error: &bollard::errors::Error) -> bool {
    matches!(error, bollard::errors::Error::DockerResponseServerError { status_code: 404, .. })
}

/// The ids and names of those that fell.
async fn fallen(docker: &Docker, since: i64) -> Result<Vec<(String, String)>> {
    let filters = HashMap::from([
        ("label".to_owned(), vec![LABEL_CONTAINER.to_owned()]),
        ("status".to_owned(), vec!["exited".to_owned()]),
    ]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let all = docker.list_containers(Some(options)).await.or_error(Kind::Node, || "cannot list containers".into())?;
    let aside = |name: &String| name.trim_start_matches('/').starts_with(crate::wire::labels::KEPT);
    let mut out = Vec::new();
    for container in all.into_iter().filter(|container| !container.names.iter().flatten().any(aside)) {
        let (Some(id), Some(labels)) = (container.id, container.labels) else { continue };
        let facts = match docker.inspect_container(&id, None::<InspectContainerOptions>).await {
            Err(error) if is_gone(&error) => continue,
            facts => facts.or_error(Kind::Node, || format!("cannot look at {id}"))?,
        };
        if facts.state.is_some_and(|state| fell(&state, since)) {
            out.push((id, labels.get(LABEL_CONTAINER).cloned().unwrap_or_default()));
        }
    }
    Ok(out)
}

/// Ended at dockerd's start, or could not be started by it.
fn fell(state: &ContainerState, since: i64) -> bool {
    let ended = state.finished_at.as_deref().is_some_and(|end| ended_since(end, since));
    ended || state.error.as_deref().is_some_and(|error| !error.is_empty())
}

/// Docker writes times as RFC 3339 says.
fn ended_since(end: &str, since: i64) -> bool {
    OffsetDateTime::parse(end, &Rfc3339).is_ok_and(|end| end.unix_timestamp() >= since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ended_since() {
        let ended = |end| super::ended_since(end, 1_795_180_834);
        assert!(ended("2026-11-20T13:20:35.123456789Z"));
        assert!(!ended("2026-11-20T13:20:33.9Z"));
        assert!(!ended("0001-01-01T00:00:00Z"));
        assert!(!ended("yesterday"));
    }

    #[test]
    fn what_could_not_be_started_fell_and_what_a_person_stopped_did_not() {
        let state = |error: &str| ContainerState {
            finished_at: Some("2026-11-20T13:20:33Z".into()),
            error: Some(error.into()),
            ..ContainerState::default()
        };
        assert!(fell(&state("Bind for 0.0.0.0:8080 failed: port is already allocated"), 1_795_180_834));
        assert!(!fell(&state(""), 1_795_180_834));
    }
}
