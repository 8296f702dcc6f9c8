//! Whether what was started may stay: all is healthy, and for a while nothing falls over.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bollard::{Docker, query_parameters::InspectContainerOptions};
use lap_base::error::{Error, Kind, OrError, Result};

use super::watch::SwitchWatch;
use crate::{
    agent::{checks, data::quota, docker::health, system::node_config::address},
    release::Make,
};

/// How long a container that was not touched may take until it is healthy. A slow machine needs some tries: one may take 30 s.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often it is looked whether something fell over.
const LOOK: Duration = Duration::from_millis(250);
/// How often containers' own checks are asked meanwhile.
const ASK: Duration = Duration::from_secs(2);

/// Waits until a container is healthy, or somebody wants the whole switch taken back.
///
/// # Errors
/// Why not, or that.
pub async fn healthy(docker: &Docker, container: &str, patience: Duration, watch: &SwitchWatch) -> Result<()> {
    tokio::select! {
        healthy = health::await_healthy(docker, container, patience) => healthy,
        error = aborted(watch) => Err(error),
    }
}

/// The containers that must be healthy.
#[derive(Clone, Copy)]
pub struct Judged<'a> {
    pub all: &'a [String],
    /// Those among them that the switch started.
    pub started: &'a [Make],
}

impl Judged<'_> {
    /// Whether the agent froze it because of its data and the switch did not start it: it cannot answer, and the release is not the reason.
    fn is_exempt(&self, container: &str, frozen: &BTreeSet<String>) -> bool {
        frozen.contains(container) && !self.started.iter().any(|make| make.name == container)
    }
}

/// Asks all of them.
///
/// # Errors
/// The first that is not healthy.
pub async fn all(docker: &Docker, judged: Judged<'_>, watch: &SwitchWatch) -> Result<()> {
    let each = judged.all.iter().map(async |container| {
        if judged.is_exempt(container, &quota::frozen()) {
            return Ok(());
        }
        let asked = healthy(docker, container, PATIENCE, watch).await;
        // It may have been frozen while it was asked.
        let is_exempt = watch.aborted().is_none() && judged.is_exempt(container, &quota::frozen());
        if is_exempt { Ok(()) } else { asked }
    });
    futures_util::future::try_join_all(each).await.map(drop)
}

/// Runs the release's checks; gives their number.
///
/// # Errors
/// The first that failed, with what it said.
pub async fn checks(docker: &Docker, release: &serde_json::Value, watch: &SwitchWatch) -> Result<u64> {
    let release = serde_json::from_value(release.clone()).or_error(Kind::Other, || "cannot read the release".into())?;
    let note = |text: &str| watch.step(text);
    let all = checks::run(docker, &release, &note).await?;
    match all.iter().find(|checked| !checked.ok) {
        None => Ok(all.len() as u64),
        Some(checked) => {
            let (check, said) = (format!("{}/{}", checked.container, checked.check), checked.output.trim());
            Err(Error::new(Kind::Unhealthy, format!("the check `{check}` failed: {said}")))
        }
    }
}

/// Waits for `span`; in it nothing may end, start again or become unhealthy.
///
/// # Errors
/// What fell over.
pub async fn settle(docker: &Docker, judged: Judged<'_>, span: Duration, watch: &SwitchWatch) -> Result<()> {
    let containers = judged.all;
    let mut at_first = Vec::new();
    for container in containers {
        at_first.push(process_and_starts(docker, container).await?);
    }
    let (begun, mut asked) = (Instant::now(), Instant::now());
    while begun.elapsed() < span {
        tokio::select! {
            () = tokio::time::sleep(LOOK.min(span.saturating_sub(begun.elapsed()))) => {}
            error = aborted(watch) => return Err(error),
        }
        for (container, first) in containers.iter().zip(&at_first) {
            let now = process_and_starts(docker, container).await?;
            if now != *first {
                let after = begun.elapsed().as_secs_f64();
                return Err(Error::new(
                    Kind::Unhealthy,
                    format!("`{container}` failed {after:.1} s after it was healthy"),
                )
                .hint(format!("`lap logs {}` shows its output, as long as the container exists", address(container))));
            }
        }
        if asked.elapsed() > ASK {
            asked = Instant::now();
            all(docker, judged, watch).await?;
        }
    }
    if span.is_zero() { Ok(()) } else { all(docker, judged, watch).await }
}

/// Its process, and how often it was started: equal as long as it lives.
async fn process_and_starts(docker: &Docker, container: &str) -> Result<(Option<i64>, Option<i64>, Option<String>)> {
    let what = || format!("cannot look at `{container}`");
    let facts = docker.inspect_container(&format!("infra_{container}"), None::<InspectContainerOptions>).await;
    let facts = facts.or_error(Kind::Unhealthy, what)?;
    let state = facts.state.unwrap_or_default();
    Ok((state.pid, facts.restart_count, state.started_at))
}

async fn aborted(watch: &SwitchWatch) -> Error {
    loop {
        if let Some(why) = watch.aborted() {
            return Error::new(Kind::Interrupted, why);
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_container_is_judged_only_if_the_switch_started_it() {
        let all = ["db".to_owned(), "web".to_owned()];
        let started = [Make { name: "web".into(), after: Vec::new(), body: Default::default(), patience: 1 }];
        let judged = Judged { all: &all, started: &started };
        let frozen = BTreeSet::from(all.clone());
        assert!(judged.is_exempt("db", &frozen) && !judged.is_exempt("web", &frozen));
        assert!(!judged.is_exempt("db", &BTreeSet::new()));
    }
}
