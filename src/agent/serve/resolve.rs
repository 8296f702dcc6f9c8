//! Asks name servers as the node sees them, or as a container does: from inside its network, with its resolv.conf.

use std::{
    fs::{self, File},
    io::Read,
    net::SocketAddr,
    path::PathBuf,
};

use bollard::{
    Docker,
    query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder},
};
use lap_base::{
    error::{Error, Kind, OrError, Result},
    nameservers::unscoped,
};
use lap_nameserver::client::{QueryResult, bulk::ask_all};
use nix::sched::{CloneFlags, setns};

use crate::{
    agent::docker,
    wire::protocol::{Response, Vantage},
};

/// More than this is no resolv.conf.
const LARGEST: u64 = 64 << 10;
/// More names than this no lab has.
const MOST: usize = 100_000;

type Questions = Vec<(String, String)>;

/// Asks the questions and says what came back.
///
/// # Errors
/// Docker does not answer, or the container's network cannot be entered.
pub async fn resolve(vantage: Vantage, servers: Vec<SocketAddr>, questions: Questions) -> Result<Response> {
    if questions.len() > MOST {
        return Err(Error::new(
            Kind::Refused,
            format!("{} queries are too many, at most {MOST} are allowed", questions.len()),
        ));
    }
    if vantage == Vantage::Node {
        let servers = if servers.is_empty() { of_file("/etc/resolv.conf".into()) } else { servers };
        let (server, said) = ask_all(&servers, &questions).await;
        return Ok(Response::Resolved { container: None, server, said });
    }
    let Some((name, pid)) = inhabitant(&docker::connect().await?).await? else {
        return Ok(Response::Resolved { container: None, server: None, said: Vec::new() });
    };
    let file = PathBuf::from(format!("/proc/{pid}/root/etc/resolv.conf"));
    let servers = if servers.is_empty() { of_file(file) } else { servers };
    let (done, answer) = tokio::sync::oneshot::channel();
    // A thread of its own: what it enters it stays in, and nobody else may find themselves there.
    let thread = std::thread::Builder::new().name("resolve".into()).spawn(move || {
        let _ = done.send(inside(pid, &servers, &questions));
    });
    let what = || format!("cannot send queries from inside `{name}`");
    thread.or_error(Kind::Node, what)?;
    let (server, said) = answer.await.or_error(Kind::Node, what)?.or_error(Kind::Node, what)?;
    Ok(Response::Resolved { container: Some(name), server, said })
}

/// Enters the network of a process, for good, and asks there.
fn inside(pid: i64, servers: &[SocketAddr], questions: &Questions) -> Result<(Option<SocketAddr>, Vec<QueryResult>)> {
    let path = format!("/proc/{pid}/ns/net");
    let namespace = File::open(&path).or_error(Kind::Node, || format!("cannot open `{path}`"))?;
    setns(namespace, CloneFlags::CLONE_NEWNET).or_error(Kind::Node, || "cannot enter its network".into())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.or_error(Kind::Node, || "cannot start".into())?;
    Ok(runtime.block_on(ask_all(servers, questions)))
}

/// A container with a network of its own that runs: its name, and its first process. Those of the lab first.
async fn inhabitant(docker: &Docker) -> Result<Option<(String, i64)>> {
    let list = docker.list_containers(Some(ListContainersOptionsBuilder::new().build())).await;
    let mut running: Vec<(bool, String, String)> = Vec::new();
    for container in list.or_error(Kind::Node, || "cannot list containers".into())? {
        let (Some(id), Some(names)) = (container.id, container.names) else { continue };
        let ours = container.labels.is_some_and(|labels| labels.contains_key(crate::wire::labels::LABEL_CONTAINER));
        let name = names.first().map_or("", |name| name.trim_start_matches('/')).to_owned();
        running.push((!ours, name, id));
    }
    running.sort();
    for (_, name, id) in running {
        // One that ended meanwhile is passed over.
        let Ok(facts) = docker.inspect_container(&id, None::<InspectContainerOptions>).await else { continue };
        let mode = facts.host_config.and_then(|config| config.network_mode).unwrap_or_default();
        let pid = facts.state.and_then(|state| state.pid).unwrap_or_default();
        if pid > 0 && mode != "host" && mode != "none" {
            return Ok(Some((name, pid)));
        }
    }
    Ok(None)
}

/// The name servers in a file; none where it cannot be read. What a container makes of its own file (a link, a FIFO) is
/// harmless: only addresses are taken from it.
fn of_file(path: PathBuf) -> Vec<SocketAddr> {
    if !fs::metadata(&path).is_ok_and(|meta| meta.is_file()) {
        return Vec::new();
    }
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut text));
    read.map(|_| unscoped(&text).into_iter().map(|address| (address, 53).into()).collect()).unwrap_or_default()
}
