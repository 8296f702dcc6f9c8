//! Starts containerd again. It may serve others, too, so this needs the node's lock, and happens only if nothing but lap's containers runs.

use std::{path::Path, time::Duration};

use bollard::{Docker, models::ContainerSummary, query_parameters::ListContainersOptionsBuilder};
use lap_base::{
    clock::now,
    error::{Error, Kind, OrError, Result},
    state,
};
use tokio::{
    net::UnixStream,
    sync::{RwLock, RwLockReadGuard},
    time::Instant,
};

use super::supervise;
use crate::{
    agent::lock::NodeLock,
    wire::{
        labels::{LABEL_CHECK, LABEL_CONTAINER},
        protocol::Holder,
    },
};

/// How long containerd may take to listen again, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN: Duration = Duration::from_millis(100);
/// Where Docker's own containerd and a system's listen.
const SOCKETS: [&str; 2] = ["/var/run/docker/containerd/containerd.sock", "/run/containerd/containerd.sock"];
/// Where a system's containerd keeps the tasks of each namespace. Docker's namespace is `moby`.
const NAMESPACES: &str = "/run/containerd/io.containerd.runtime.v2.task";
const DOCKERS: &str = "moby";

/// The right to start containerd again.
#[derive(Clone, Copy)]
pub enum Right<'a> {
    /// The caller has the node's lock.
    Held,
    /// The caller has not: this lock is taken for the restart.
    Take(&'a NodeLock),
}

/// When containerd was last started again. No start of the agent is under way meanwhile.
static LAST: Starts = Starts::new();

/// Starts of containers, and what excludes them.
struct Starts(RwLock<Option<Instant>>);

impl Starts {
    const fn new() -> Self {
        Self(RwLock::const_new(None))
    }

    /// Restarts, unless that was done since `needed`: one restart is enough for all containers that need it.
    async fn once(&self, needed: Instant, restart: impl Future<Output = Result<()>>) -> Result<()> {
        let mut last = self.0.write().await;
        if last.is_some_and(|last| last >= needed) {
            return Ok(());
        }
        restart.await?;
        *last = Some(Instant::now());
        Ok(())
    }
}

/// As long as this lives, containerd is not started again.
pub async fn starting() -> RwLockReadGuard<'static, Option<Instant>> {
    LAST.0.read().await
}

/// Starts containerd again, and waits until it listens. Running containers do not notice it: each has its shim, which the next
/// containerd takes over. `needed`: since when it is needed.
///
/// # Errors
/// Somebody else has the node's lock, something runs that is not lap's, or it does not come back.
pub async fn restart(docker: &Docker, right: Right<'_>, needed: Instant) -> Result<()> {
    let _grant = match right {
        Right::Held => None,
        Right::Take(lock) => match lock.take(&Holder::recovery(), now())? {
            Ok(grant) => Some(grant),
            Err((holder, _)) => {
                return Err(Error::new(Kind::Locked, format!("{} has the lock for `lap {}`", holder.who, holder.verb)));
            }
        },
    };
    LAST.once(needed, async {
        only_ours(docker).await?;
        let restarted = tokio::task::spawn_blocking(supervise::restart_containerd).await;
        restarted.or_error(Kind::Other, || "the agent".into())??;
        listens(&SOCKETS, Instant::now() + PATIENCE).await
    })
    .await
}

/// Returns as soon as a process accepts connections at one of these sockets. The file of a process that has ended accepts none.
async fn listens(sockets: &[&str], until: Instant) -> Result<()> {
    loop {
        for socket in sockets {
            if UnixStream::connect(socket).await.is_ok() {
                return Ok(());
            }
        }
        if Instant::now() >= until {
            return Err(Error::new(Kind::Node, "containerd does not listen"));
        }
        tokio::time::sleep(BETWEEN).await;
    }
}

async fn only_ours(docker: &Docker) -> Result<()> {
    let options = ListContainersOptionsBuilder::new().build();
    let running =
        docker.list_containers(Some(options)).await.or_error(Kind::Node, || "cannot list containers".into())?;
    match foreign_container(&running).or(foreign_namespace(Path::new(NAMESPACES))?) {
        None => Ok(()),
        Some(name) => Err(Error::new(Kind::Refused, format!("containerd also serves {name}, which is not lap's"))
            .hint("restart containerd on the node when that is possible: `systemctl restart containerd`")),
    }
}

/// A container that lap did not make.
fn foreign_container(running: &[ContainerSummary]) -> Option<String> {
    let is_ours = |container: &&ContainerSummary| {
        let labels = container.labels.as_ref();
        labels.is_some_and(|labels| labels.contains_key(LABEL_CONTAINER) || labels.contains_key(LABEL_CHECK))
    };
    let foreign = running.iter().find(|container| !is_ours(container))?;
    let name = foreign.names.iter().flatten().next().map(|name| name.trim_start_matches('/').to_owned());
    Some(format!("the container `{}`", name.or_else(|| foreign.id.clone()).unwrap_or_default()))
}

/// A namespace with tasks that is not Docker's.
fn foreign_namespace(namespaces: &Path) -> Result<Option<String>> {
    for name in names(namespaces)?.into_iter().filter(|name| name != DOCKERS) {
        if !names(&namespaces.join(&name))?.is_empty() {
            return Ok(Some(format!("the namespace `{name}`")));
        }
    }
    Ok(None)
}

/// The names in a directory; none where there is none.
fn names(directory: &Path) -> Result<Vec<String>> {
    Ok(state::names(directory).value_or_refuse()?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        fs,
        sync::atomic::{AtomicU32, Ordering},
    };

    use super::*;

    #[tokio::test]
    async fn one_restart_is_enough_for_all_that_need_it() {
        let (starts, count) = (Starts::new(), AtomicU32::new(0));
        let needed = Instant::now();
        let restart = || async {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(())
        };
        let all = (0..5).map(|_| starts.once(needed, restart()));
        assert!(futures_util::future::join_all(all).await.iter().all(Result::is_ok));
        assert_eq!(count.load(Ordering::Relaxed), 1);
        starts.once(Instant::now(), restart()).await.unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 2, "it is needed again");
        // One that failed helps nobody.
        let fails = async { Err(Error::new(Kind::Node, "no")) };
        let needed = Instant::now();
        assert!(starts.once(needed, fails).await.is_err());
        starts.once(needed, restart()).await.unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_socket_without_its_process_is_not_containerd() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let socket = path.to_str().unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let sockets = ["/nowhere", socket];
        let waiting = listens(&sockets, Instant::now() + PATIENCE);
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        fs::remove_file(&path).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        waiting.await.unwrap();
        assert!(listens(&["/nowhere"], Instant::now()).await.is_err());
    }

    #[test]
    fn what_is_not_laps_is_named() {
        let container = |name: &str, label: Option<&str>| ContainerSummary {
            names: Some(vec![format!("/{name}")]),
            labels: Some(label.map(|label| (label.to_owned(), String::new())).into_iter().collect::<HashMap<_, _>>()),
            ..ContainerSummary::default()
        };
        let ours = [container("infra_git", Some(LABEL_CONTAINER)), container("check", Some(LABEL_CHECK))];
        assert_eq!(foreign_container(&ours), None);
        let mixed = [ours.to_vec(), vec![container("shop", None)]].concat();
        assert_eq!(foreign_container(&mixed).unwrap(), "the container `shop`");
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(foreign_namespace(&dir.path().join("none")).unwrap(), None);
        fs::create_dir_all(dir.path().join("moby/17cf")).unwrap();
        fs::create_dir(dir.path().join("k8s.io")).unwrap();
        assert_eq!(foreign_namespace(dir.path()).unwrap(), None);
        fs::create_dir(dir.path().join("k8s.io/17cf")).unwrap();
        assert_eq!(foreign_namespace(dir.path()).unwrap().unwrap(), "the namespace `k8s.io`");
    }
}
