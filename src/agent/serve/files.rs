//! Files that lap puts on the node, and the agent's own binary.

use std::{
    fs,
    path::{Path, PathBuf},
};

use lap_base::{
    durable,
    error::{Error, Kind, Result},
};

use super::agent::Agent;
use crate::{
    agent::{
        install, pool,
        system::{
            blocking::run_blocking,
            stream::{Connection, receive},
        },
    },
    wire::{
        paths,
        protocol::{InstallTarget, Response},
    },
};

/// No place takes more than this.
const MAX_INSTALL: u64 = 64 << 20;
/// No agent is larger than this.
const MAX_BINARY: u64 = 1 << 30;

/// Replaces the files of a place.
///
/// # Errors
/// The lock is lost, or the files cannot be written.
pub async fn install(
    agent: &Agent,
    stream: &mut Connection,
    fence: u64,
    place: InstallTarget,
    size: u64,
) -> Result<Response> {
    let bytes = receive(stream, size, MAX_INSTALL).await?;
    agent.lock.check(fence)?;
    let files = run_blocking(move || install::put(&place, &bytes)).await?;
    Ok(Response::Installed { files })
}

/// Removes the files of a place.
///
/// # Errors
/// The lock is lost, or the place is one that stays.
pub fn uninstall(agent: &Agent, fence: u64, place: &InstallTarget) -> Result<Response> {
    agent.lock.check(fence)?;
    let dir = install::directory(place)?;
    if !matches!(place, InstallTarget::Env(_) | InstallTarget::Checks(_) | InstallTarget::Secrets(_)) {
        return Err(Error::new(Kind::Refused, format!("{place:?} stays")));
    }
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::new(Kind::Node, format!("cannot remove `{}`: {error}", dir.display())))
        }
        _ => Ok(Response::Done),
    }
}

/// Makes the directories of these containers' data, and mounts the sources of their bind mounts.
///
/// # Errors
/// The lock is lost, or the disk says why.
pub async fn make_data(agent: &Agent, fence: u64, containers: &[String], sources: Vec<PathBuf>) -> Result<Response> {
    agent.lock.check(fence)?;
    containers.iter().try_for_each(|name| pool::make_data(name))?;
    run_blocking(move || pool::binds::add(&sources).map(|()| Response::Done)).await
}

/// Replaces the agent's binary, unless a command holds the lock.
///
/// # Errors
/// A command holds the lock, or the binary cannot be written.
pub async fn upgrade(agent: &Agent, stream: &mut Connection, build: &str, size: u64) -> Result<Response> {
    let bytes = receive(stream, size, MAX_BINARY).await?;
    if let Some((holder, _)) = agent.lock.held() {
        let message = format!("`{}` holds the lock for `{}`", holder.who, holder.verb);
        return Err(Error::new(Kind::Locked, message).hint("try again when it has finished"));
    }
    eprintln!("agent: replaced by build {build}");
    durable::write_file(Path::new(paths::BINARY), &bytes, 0o755)?;
    let _ = agent.replaced.try_send(());
    Ok(Response::Done)
}
