//! Starts containers again that fell with their dockerd.
//!
//! A dockerd that was killed finds its containers alive at its next start, stops them, and counts that as somebody
//! having stopped them: the restart policy `unless-stopped` leaves them down. Those a person had stopped before have an
//! earlier end, and stay as they are.

use std::{collections::HashMap, time::Duration};

use bollard::{
    Docker,
    query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder, StartContainerOptions},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::facts::{self, LABEL_CONTAINER};

/// How long a dockerd may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for dockerd, and starts what it stopped at its own start (`since`, unix seconds).
pub async fn revive(since: i64) {
    let until = tokio::time::Instant::now() + PATIENCE;
    let docker = loop {
        match facts::docker().await {
            Ok(docker) => break docker,
            Err(error) if tokio::time::Instant::now() > until => return eprintln!("agent: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    };
    for id in stopped_since(&docker, since).await {
        if let Err(error) = docker.start_container(&id, None::<StartContainerOptions>).await {
            eprintln!("agent: cannot start {id} again: {error}");
        }
    }
}

async fn stopped_since(docker: &Docker, since: i64) -> Vec<String> {
    let filters = HashMap::from([
        ("label".to_owned(), vec![LABEL_CONTAINER.to_owned()]),
        ("status".to_owned(), vec!["exited".to_owned()]),
    ]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let mut out = Vec::new();
    let aside = |name: &String| name.trim_start_matches('/').starts_with(super::switch::KEPT);
    let all = docker.list_containers(Some(options)).await.unwrap_or_default().into_iter();
    for id in all.filter(|c| !c.names.iter().flatten().any(aside)).filter_map(|c| c.id) {
        let Ok(facts) = docker.inspect_container(&id, None::<InspectContainerOptions>).await else { continue };
        if facts.state.and_then(|state| state.finished_at).is_some_and(|end| ended_since(&end, since)) {
            out.push(id);
        }
    }
    out
}

/// Docker writes times as RFC 3339 says.
fn ended_since(end: &str, since: i64) -> bool {
    OffsetDateTime::parse(end, &Rfc3339).is_ok_and(|end| end.unix_timestamp() >= since)
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_ended_since() {
        let ended = |end| super::ended_since(end, 1_795_180_834);
        assert!(ended("2026-11-20T13:20:35.123456789Z"));
        assert!(!ended("2026-11-20T13:20:33.9Z"));
        assert!(!ended("0001-01-01T00:00:00Z"));
        assert!(!ended("yesterday"));
    }
}
