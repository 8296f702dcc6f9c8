//! Containers stand still while a file system that takes no snapshots itself is copied. Whoever is stopped by Docker's `pause` is
//! written down before: the agent that finds this at its start lets them go on before it does anything else.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use bollard::{Docker, query_parameters::ListContainersOptionsBuilder};
use futures_util::future::join_all;
use tokio::runtime::Handle;

use super::{facts, failpoint, install::write_file, paths};
use crate::{
    error::{Error, Kind, OrError, Result},
    snapshot::Still,
};

/// How long Docker is waited for at the agent's start: one that answers does so at once.
const AT_ONCE: Duration = Duration::from_secs(2);

/// All containers of this node.
pub struct Containers {
    pub most: Option<Duration>,
}

impl Still for Containers {
    fn at(&mut self, step: &str) {
        failpoint::at(step);
    }

    fn pause(&mut self) -> Result<()> {
        here(pause())
    }

    fn resume(&mut self) -> Result<()> {
        if !is_pending() {
            return Ok(());
        }
        here(async { resume(&facts::docker().await?).await })
    }

    fn patience(&self) -> Option<Duration> {
        self.most
    }
}

/// Whoever takes a snapshot may be inside the runtime, or not: a thread of its own never is.
fn here<T: Send>(work: impl Future<Output = Result<T>> + Send) -> Result<T> {
    let runtime = Handle::current();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| runtime.block_on(work));
        thread.join().unwrap_or_else(|_| Err(Error::new(Kind::Other, "the thread that talks to Docker fell over")))
    })
}

async fn pause() -> Result<()> {
    let docker = facts::docker().await?;
    let running = listed(&docker, "running").await?;
    let text = serde_json::to_vec(&running).or_error(Kind::Other, || "containers".into())?;
    write_file(&record(), &text, 0o600)?;
    let each = running.keys().map(async |id| docker.pause_container(id).await);
    let paused = join_all(each).await;
    for ((id, name), ended) in running.iter().zip(paused) {
        if let Err(error) = ended
            // It may have ended by itself.
            && listed(&docker, "running").await?.contains_key(id)
        {
            return Err(Error::new(Kind::Node, format!("`{name}` cannot be made to stand still: {error}")));
        }
    }
    Ok(())
}

/// Whether containers may stand still that should not.
pub fn is_pending() -> bool {
    record().exists()
}

/// They go on; what Docker does not know any more needs not.
pub async fn resume(docker: &Docker) -> Result<()> {
    let text = fs::read(record()).unwrap_or_default();
    let wanted: BTreeMap<String, String> = serde_json::from_slice(&text).unwrap_or_default();
    let each = wanted.keys().map(async |id| docker.unpause_container(id).await);
    join_all(each).await;
    let left = listed(docker, "paused").await?;
    match wanted.iter().find(|(id, _)| left.contains_key(*id)) {
        Some((_, name)) => Err(Error::new(Kind::Node, format!("`{name}` stands still and does not go on"))
            .hint(format!("`docker unpause infra_{name}` on the node"))),
        None => fs::remove_file(record()).or_error(Kind::Node, || format!("cannot remove `{}`", record().display())),
    }
}

/// At the agent's start, before anything else: those that an agent left that was killed.
pub async fn recover_at_once() {
    if !is_pending() {
        return;
    }
    let recovered = tokio::time::timeout(AT_ONCE, async { resume(&facts::docker().await?).await }).await;
    if let Ok(Err(error)) = recovered {
        eprintln!("agent: {error}");
    }
}

/// By id, their names.
async fn listed(docker: &Docker, state: &str) -> Result<BTreeMap<String, String>> {
    let label = facts::LABEL_CONTAINER.to_owned();
    let filters = [("label".to_owned(), vec![label]), ("status".to_owned(), vec![state.to_owned()])].into();
    let options = ListContainersOptionsBuilder::new().filters(&filters).build();
    let list = docker.list_containers(Some(options)).await.or_error(Kind::Node, || "cannot list containers".into())?;
    let one = |fact: bollard::models::ContainerSummary| {
        let name = fact.labels.unwrap_or_default().get(facts::LABEL_CONTAINER).cloned()?;
        Some((fact.id?, name))
    };
    Ok(list.into_iter().filter_map(one).collect())
}

fn record() -> PathBuf {
    PathBuf::from(paths::STATE).join("paused.json")
}
