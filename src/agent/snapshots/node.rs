//! This node, as a restore sees it: its mounts, and its containers in Docker.

use std::time::{Duration, Instant};

use bollard::{Docker, query_parameters::StopContainerOptions};
use futures_util::future::join_all;
use lap_base::error::{Kind, OrError, Result};
use lap_snapshots::{RestoreStep, Still, World};
use tokio::runtime::Handle;

use crate::agent::{
    daemons::{containerd::Right, shims},
    data::freeze,
    pool::{self, binds},
    system::failpoint,
};

/// How long the data may be busy after the last container stopped.
const PATIENCE: Duration = Duration::from_secs(5);

/// This node, as a restore sees it.
pub(super) struct NodeWorld {
    docker: Option<Docker>,
    note: Box<dyn Fn(&str) + Send>,
    /// Since when containers are stopped.
    stopped: Option<Instant>,
    /// Since when the data is away.
    away: Option<Instant>,
    /// How long the data was away; where it was not, how long containers were stopped.
    pub(super) micros: u64,
    still: freeze::Containers,
}

impl NodeWorld {
    /// Without Docker no container is stopped or started; `note` hears of each step.
    pub(super) fn new(docker: Option<Docker>, note: Box<dyn Fn(&str) + Send>) -> Self {
        Self { docker, note, stopped: None, away: None, micros: 0, still: freeze::Containers::default() }
    }

    fn each<F: Future<Output = Result<()>>>(
        &self,
        containers: &[String],
        act: impl Fn(Docker, String) -> F,
    ) -> Result<()> {
        let Some(docker) = &self.docker else { return Ok(()) };
        let all = containers.iter().map(|name| act(docker.clone(), format!("infra_{name}")));
        Handle::current().block_on(join_all(all)).into_iter().collect()
    }
}

/// Of a restore the containers concerned are stopped then: what stands still is all others.
impl Still for NodeWorld {
    fn at(&mut self, step: &str) {
        failpoint::at(step);
    }

    fn pause(&mut self) -> Result<()> {
        self.still.pause()
    }

    fn resume(&mut self) -> Result<()> {
        self.still.resume()
    }

    fn patience(&self) -> Option<Duration> {
        None
    }
}

impl World for NodeWorld {
    fn step(&mut self, step: RestoreStep) {
        (self.note)(step.text());
        failpoint::at(step.text());
    }

    fn running(&mut self) -> Result<Vec<String>> {
        crate::agent::docker::running(&Handle::current())
    }

    fn can_start(&self) -> bool {
        self.docker.is_some()
    }

    fn stop(&mut self, containers: &[String]) -> Result<()> {
        self.stopped = (!containers.is_empty()).then(Instant::now);
        self.each(containers, |docker, name| async move {
            let stopped = docker.stop_container(&name, None::<StopContainerOptions>).await;
            stopped.or_error(Kind::Node, || format!("cannot stop `{name}`"))
        })
    }

    fn start(&mut self, containers: &[String]) -> Result<()> {
        // What was restored has other files at the same paths.
        binds::refresh_and_tell();
        self.each(containers, |docker, name| async move {
            match shims::start(&docker, &name, Right::Held).await {
                // Somebody removed it in between: nothing to start.
                Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
                started => started.or_error(Kind::Node, || format!("cannot start `{name}`")),
            }
        })?;
        if let (0, Some(since)) = (self.micros, self.stopped) {
            self.micros = since.elapsed().as_micros() as u64;
        }
        Ok(())
    }

    fn unmount(&mut self) -> Result<()> {
        self.away = Some(Instant::now());
        pool::unmount_data(PATIENCE)
    }

    fn mount(&mut self) -> Result<()> {
        pool::mount_data()?;
        binds::refresh_and_tell();
        self.micros = self.away.map_or(0, |since| since.elapsed().as_micros() as u64);
        Ok(())
    }
}
