//! Copies and fetches: a child does them, so that its memory and its end are its own. The agent passes on what it and whoever
//! asked say to each other.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::UnixStream,
    process::Command,
};

use super::{paths, protocol::Request};
use crate::{
    error::{Error, Kind, OrError, Result},
    snapshot,
};

/// How long a child may clean up after whoever asked went away.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is passed on at a time.
const PIECE: usize = 256 << 10;

/// Runs the child to its end.
pub async fn work(mut stream: BufReader<UnixStream>, request: &Request) {
    if let Err(error) = pass(&mut stream, request).await {
        super::serve::say(&mut stream, &error.into()).await;
    }
    if let Request::FetchSnapshot { id, .. } = request {
        let id = id.clone();
        let abandoned = tokio::task::spawn_blocking(move || snapshot::abandon(Path::new(paths::POOL), &id)).await;
        if let Ok(Err(error)) = abandoned {
            eprintln!("agent: {error}");
        }
    }
}

async fn pass(stream: &mut BufReader<UnixStream>, request: &Request) -> Result<()> {
    let what = || "cannot start the agent's child".to_owned();
    let mut line = serde_json::to_vec(request).or_error(Kind::Other, what)?;
    line.push(b'\n');
    // This very binary, also when a newer one has its name by now.
    let mut child = Command::new("/proc/self/exe")
        .args(["agent", "repository"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .or_error(Kind::Node, what)?;
    let (Some(mut to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(Error::new(Kind::Node, what()));
    };
    to.write_all(&line).await.or_error(Kind::Node, what)?;
    let (mut said, mut heard) = tokio::io::split(stream);
    let mut from = BufReader::with_capacity(PIECE, from);
    let mut said = BufReader::with_capacity(PIECE, &mut said);
    let outward = tokio::io::copy_buf(&mut from, &mut heard);
    tokio::pin!(outward);
    tokio::select! {
        _ = &mut outward => {}
        _ = tokio::io::copy_buf(&mut said, &mut to) => {
            // Whoever asked went away: the child finds that out by the end of its input, and cleans up.
            drop(to);
            let _ = tokio::time::timeout(PATIENCE, outward).await;
            let _ = child.start_kill();
        }
    }
    match child.wait().await {
        Ok(status) if status.code().is_some() => Ok(()),
        _ => Err(Error::new(Kind::Node, "the agent's child was killed")
            .hint("run the command again: it goes on from where it was")),
    }
}
