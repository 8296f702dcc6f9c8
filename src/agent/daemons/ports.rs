//! Ports that Docker holds for nobody.
//!
//! A Docker that is killed while it starts a container has written down the container's ports, but not that it runs. At its next start it
//! takes these ports again (a DNAT rule and a `docker-proxy` of its own), and nothing ever gives them back: neither the removal of that
//! container nor any request. Only another start of Docker does. A `docker-proxy` whose Docker is gone holds a port, too; it is ended.

use std::{
    collections::BTreeSet,
    fs,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bollard::{Docker, models::PortSummaryTypeEnum, query_parameters::ListContainersOptionsBuilder};
use lap_base::error::{Error, Kind, OrError, Result};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::supervise;
use crate::agent::docker::answering;

/// So long a proxy may be there before its container counts as running: Docker starts it first.
const GRACE: Duration = Duration::from_secs(3);
/// The same where nothing waits for the port, and somebody may be starting containers on a busy machine.
const LONG_GRACE: Duration = Duration::from_secs(20);
/// Between two looks.
const BETWEEN: Duration = Duration::from_millis(200);

static LEAKED: AtomicBool = AtomicBool::new(false);

/// A `docker-proxy`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Proxy {
    pid: i32,
    parent: i32,
    tcp: bool,
    port: u16,
}

/// Whether ports are known to be held for nobody.
pub fn are_leaked() -> bool {
    LEAKED.load(Ordering::Relaxed)
}

/// After a start of Docker: finds out whether it took ports for nobody.
pub async fn watch() {
    if let Ok(docker) = answering().await {
        note(leaked(&docker, LONG_GRACE).await);
    }
}

/// The same when a container did not get its port.
pub async fn suspect(docker: &Docker) {
    note(leaked(docker, GRACE).await);
}

/// The recovery does the rest, under the lock.
fn note(leaked: Result<BTreeSet<Proxy>>) {
    match leaked {
        Ok(none) if none.is_empty() => {}
        Ok(_) => LEAKED.store(true, Ordering::Relaxed),
        Err(error) => eprintln!("agent: {error}"),
    }
}

/// Frees the ports that are held for nobody; under the lock, so that nobody starts a container.
///
/// # Errors
/// Docker does not answer; or it has containers of others, which the agent does not stop.
pub async fn free_leaked() -> Result<()> {
    let docker = answering().await?;
    end_orphans();
    let leaked = leaked(&docker, GRACE).await?;
    if !leaked.is_empty() {
        let ports = leaked.iter().map(|proxy| proxy.port.to_string()).collect::<BTreeSet<_>>();
        let ports = ports.into_iter().collect::<Vec<_>>().join(", ");
        only_ours(&docker, &ports).await?;
        eprintln!("agent: Docker holds ports ({ports}) for containers that do not run, restarting Docker");
        tokio::task::spawn_blocking(supervise::restart_docker).await.or_error(Kind::Other, || "the agent".into())??;
        answering().await?;
    }
    LEAKED.store(false, Ordering::Relaxed);
    Ok(())
}

/// Docker's own proxies that have no running container for `grace`.
async fn leaked(docker: &Docker, grace: Duration) -> Result<BTreeSet<Proxy>> {
    let begun = tokio::time::Instant::now();
    let mut all: Option<BTreeSet<Proxy>> = None;
    loop {
        let Some(parent) = supervise::docker_pid() else { return Ok(BTreeSet::new()) };
        let mut idle = proxies().into_iter().filter(|proxy| proxy.parent == parent).collect::<BTreeSet<_>>();
        if idle.is_empty() {
            return Ok(idle);
        }
        let published = published(docker).await?;
        idle.retain(|proxy| !published.contains(&(proxy.tcp, proxy.port)));
        if let Some(before) = all {
            idle.retain(|proxy| before.contains(proxy));
        }
        if idle.is_empty() || begun.elapsed() >= grace {
            return Ok(idle);
        }
        all = Some(idle);
        tokio::time::sleep(BETWEEN).await;
    }
}

/// The ports of containers that run, or are about to.
async fn published(docker: &Docker) -> Result<BTreeSet<(bool, u16)>> {
    let options = ListContainersOptionsBuilder::new().build();
    let list = docker.list_containers(Some(options)).await.or_error(Kind::Node, || "cannot list containers".into())?;
    let ports = list.into_iter().flat_map(|container| container.ports.unwrap_or_default());
    Ok(ports.filter_map(|port| Some((port.typ == Some(PortSummaryTypeEnum::TCP), port.public_port?))).collect())
}

/// A node that is lap's alone has only lap's containers. On another machine the agent stops nobody else's.
async fn only_ours(docker: &Docker, ports: &str) -> Result<()> {
    let options = ListContainersOptionsBuilder::new().build();
    let list = docker.list_containers(Some(options)).await.or_error(Kind::Node, || "cannot list containers".into())?;
    let ours = |labels: &std::collections::HashMap<String, String>| labels.keys().any(|key| key.starts_with("lap."));
    if list.iter().all(|container| container.labels.as_ref().is_some_and(ours)) {
        return Ok(());
    }
    Err(Error::new(Kind::Node, format!("Docker holds ports ({ports}) for containers that do not run"))
        .hint("the agent does not restart Docker, because containers run here that are not lap's: restart it yourself, and the agent continues"))
}

/// Ends the proxies whose Docker is gone.
fn end_orphans() {
    for proxy in proxies() {
        let orphan = comm(proxy.parent).is_none_or(|parent| proxy.parent == 1 && parent != "dockerd");
        // By descriptor: the number may be another process's by the time of the signal.
        let Some(open) = Pid::from_raw(proxy.pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
            continue;
        };
        if orphan && read(proxy.pid).as_ref() == Some(&proxy) {
            eprintln!("agent: a `docker-proxy` of an earlier Docker holds port {}, ending it", proxy.port);
            let _ = pidfd_send_signal(open, Signal::KILL);
        }
    }
}

fn proxies() -> Vec<Proxy> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| read(entry.file_name().to_str()?.parse().ok()?)).collect()
}

fn comm(pid: i32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned())
}

fn read(pid: i32) -> Option<Proxy> {
    if comm(pid)? != "docker-proxy" {
        return None;
    }
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    if program.file_name()? != "docker-proxy" {
        return None;
    }
    let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    let (tcp, port) = port(&arguments.split('\0').collect::<Vec<_>>())?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
    Some(Proxy { pid, parent, tcp, port })
}

/// Of a proxy's command line: whether it is TCP, and the port on the node.
fn port(arguments: &[&str]) -> Option<(bool, u16)> {
    let after = |name: &str| arguments.iter().position(|word| *word == name).and_then(|at| arguments.get(at + 1));
    Some((*after("-proto")? == "tcp", after("-host-port")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_says_for_which_port_it_is() {
        let line = "/usr/sbin/docker-proxy -proto tcp -host-ip 0.0.0.0 -host-port 8080 -container-ip 172.17.0.2 -container-port 80";
        assert_eq!(port(&line.split(' ').collect::<Vec<_>>()), Some((true, 8080)));
        assert_eq!(port(&line.replace("tcp", "udp").split(' ').collect::<Vec<_>>()), Some((false, 8080)));
        assert_eq!(port(&["docker-proxy", "-proto", "tcp", "-host-port"]), None);
    }

    #[test]
    fn only_a_docker_proxy_is_one() {
        assert_eq!(read(std::process::id().cast_signed()), None);
    }
}
