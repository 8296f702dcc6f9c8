//! Copies and fetches: a child does them, so that its memory and its end are its own. It gets the connection of whoever asked.

use std::{os::fd::AsFd, path::Path, process::Stdio, time::Duration};

use lap_base::error::{Error, Kind, OrError, Result};
use lap_snapshots as snapshot;
use lap_snapshots::Id;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::UnixStream,
    process::Command,
};

use crate::wire::{paths, protocol::Request};

/// How long a child's child may take to die, and how often the agent looks.
const DYING: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

/// Runs the child to its end.
pub async fn work(mut stream: BufReader<UnixStream>, request: &Request) {
    let passed = pass(&stream, request).await;
    if let Request::FetchSnapshot { id, .. } = request {
        clear(id, passed.is_err()).await;
    }
    // Whoever hears of it finds nothing half done any more.
    if let Err(error) = block(&stream, false).or_error(Kind::Node, || "the connection".into()).and(passed) {
        crate::agent::system::stream::say(&mut stream, &error.into()).await;
    }
}

/// Removes what a fetch left. The child of a killed child dies with it, a moment later.
async fn clear(id: &Id, killed: bool) {
    for _ in 0..DYING.as_millis() / LOOK.as_millis() {
        let id = id.clone();
        match tokio::task::spawn_blocking(move || snapshot::abandon(Path::new(paths::POOL), &id)).await {
            Ok(Ok(false)) if killed => tokio::time::sleep(LOOK).await,
            Ok(Err(error)) => return eprintln!("agent: {error}"),
            _ => return,
        }
    }
}

/// It is one open connection, whoever has it.
fn block(stream: &BufReader<UnixStream>, blocking: bool) -> nix::Result<()> {
    let socket = stream.get_ref().as_fd();
    let mut flags = OFlag::from_bits_truncate(fcntl(socket, FcntlArg::F_GETFL)?);
    flags.set(OFlag::O_NONBLOCK, !blocking);
    fcntl(socket, FcntlArg::F_SETFL(flags)).map(drop)
}

async fn pass(stream: &BufReader<UnixStream>, request: &Request) -> Result<()> {
    let what = || "cannot start the agent's child".to_owned();
    let mut line = serde_json::to_vec(request).or_error(Kind::Other, what)?;
    line.push(b'\n');
    // The child speaks for itself: gigabytes do not pass through here. It blocks, and so does its end of the connection.
    let socket = stream.get_ref().as_fd().try_clone_to_owned().or_error(Kind::Node, what)?;
    block(stream, true).or_error(Kind::Node, what)?;
    // This very binary, also when a newer one has its name by now.
    let mut child = Command::new("/proc/self/exe")
        .args(["agent", "repository"])
        // glibc, mallopt(3): else every thread has a heap of its own. (Nor may pieces be given back one by one, with
        // MALLOC_MMAP_THRESHOLD_: the library makes a compressor for each file, and half the time would go into page faults.)
        .env("MALLOC_ARENA_MAX", "2")
        .stdin(Stdio::piped())
        .stdout(socket)
        .kill_on_drop(true)
        .spawn()
        .or_error(Kind::Node, what)?;
    let Some(mut to) = child.stdin.take() else { return Err(Error::new(Kind::Node, what())) };
    to.write_all(&line).await.or_error(Kind::Node, what)?;
    drop(to);
    let who = child.id();
    let ended = child.wait().await;
    if let (Request::CopySnapshot { .. }, Some(who)) = (request, who) {
        // Its own, if it was killed.
        let unstaged = tokio::task::spawn_blocking(move || snapshot::unstage(Path::new(paths::POOL), who)).await;
        if let Ok(Err(error)) = unstaged {
            eprintln!("agent: {error}");
        }
    }
    match ended {
        Ok(status) if status.code().is_some() => Ok(()),
        _ => Err(Error::new(Kind::Node, "the agent's child was killed").hint("run the command again: it continues")),
    }
}
