//! A whole snapshot as one tar file, out of the node and into it. GNU tar makes and reads it, on the node: owners, times, hard
//! links, holes, attributes and ACLs as they are; sockets are left out, as no archive has them.
//!
//! The archive goes over the agent's socket in pieces, each with its length (4 bytes, big-endian) before it; 0 ends it. Then
//! comes the last line of whoever sent it or took it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    process::{Child, Command},
    task::JoinHandle,
};

use super::{paths, protocol::Answer};
use crate::{
    error::{Error, Kind, OrError, Result},
    snapshot::{self, Meta},
};

/// How long a piece is at most.
const PIECE: usize = 256 << 10;
/// What an archive holds: the description, and the data.
const MEMBERS: [&str; 2] = ["meta.json", "data"];

/// Sends `from` in pieces, and gives how many bytes it was.
///
/// # Errors
/// Either side broke.
pub async fn send(mut from: impl AsyncRead + Unpin, to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<u64> {
    let (mut piece, mut total) = (vec![0; PIECE], 0);
    loop {
        let length = from.read(&mut piece).await?;
        to.write_u32(length as u32).await?;
        if length == 0 {
            to.flush().await?;
            return Ok(total);
        }
        to.write_all(&piece[..length]).await?;
        total += length as u64;
    }
}

/// Takes pieces until their end, and gives how many bytes they were.
///
/// # Errors
/// Either side broke, or the pieces ended without an end.
pub async fn receive(from: &mut (impl AsyncBufRead + Unpin), mut to: impl AsyncWrite + Unpin) -> std::io::Result<u64> {
    let mut total = 0;
    loop {
        let length = u64::from(from.read_u32().await?);
        if length == 0 {
            to.flush().await?;
            return Ok(total);
        }
        if length > PIECE as u64 {
            return Err(std::io::Error::other("a piece is too long"));
        }
        let taken = tokio::io::copy(&mut from.take(length), &mut to).await?;
        if taken < length {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        total += taken;
    }
}

fn tar(how: [&str; 3], directory: &Path) -> Command {
    let mut command = Command::new("tar");
    command.args(how).args(["--file=-", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner"]);
    command.arg("--directory").arg(directory).arg("--").args(MEMBERS);
    command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// The last of what tar says, read all the while: one that cannot get rid of its words stands still.
fn words(child: &mut Child) -> JoinHandle<String> {
    let said = child.stderr.take();
    tokio::spawn(async move {
        let mut last = String::new();
        let Some(said) = said else { return last };
        let mut lines = BufReader::new(said).split(b'\n');
        while let Ok(Some(line)) = lines.next_segment().await {
            last = String::from_utf8_lossy(&line).into_owned();
        }
        last
    })
}

/// Waits for tar's end.
async fn ended(mut child: Child, words: JoinHandle<String>) -> Result<()> {
    let status = child.wait().await.or_error(Kind::Node, || "tar".into())?;
    if status.success() {
        return Ok(());
    }
    let last = words.await.unwrap_or_default();
    Err(Error::new(Kind::Node, format!("`tar` failed: {last}")))
}

/// Sends a snapshot.
///
/// # Errors
/// tar fails, or nobody takes it.
pub async fn export(meta: &Meta, to: &mut (impl AsyncWrite + Unpin)) -> Result<Answer> {
    let directory = Path::new(paths::POOL).join("snapshots").join(meta.id.to_string());
    let mut command = tar(["--create", "--sparse", "--format=posix"], &directory);
    let mut child = command.stdout(Stdio::piped()).spawn().or_error(Kind::Node, || "cannot run `tar`".into())?;
    let words = words(&mut child);
    if let Some(out) = child.stdout.take() {
        send(out, to).await.or_error(Kind::Node, || "the connection broke".into())?;
    }
    ended(child, words).await.map(|()| Answer::Done)
}

/// Takes a snapshot and gives it its name.
///
/// # Errors
/// It is no such archive, one of that name is there, or the disk is full: then nothing is left.
pub async fn import(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Answer> {
    let (pool, half) = (Path::new(paths::POOL), PathBuf::from(paths::POOL).join("snapshots/.new-import"));
    let number = snapshot::prepare_import(&half)?;
    let unpacked = unpack(from, &half).await;
    let named = unpacked.and_then(|()| snapshot::finish_import(pool, &half, number));
    if named.is_err() {
        snapshot::drop_half(&half)?;
    }
    named.map(|meta| Answer::Taken { meta, micros: 0, complaints: Vec::new() })
}

async fn unpack(from: &mut (impl AsyncBufRead + Unpin), half: &Path) -> Result<()> {
    let mut command = tar(["--extract", "--same-owner", "--preserve-permissions"], half);
    let mut child = command.stdin(Stdio::piped()).spawn().or_error(Kind::Node, || "cannot run `tar`".into())?;
    let words = words(&mut child);
    let Some(mut into) = child.stdin.take() else { return Err(Error::new(Kind::Node, "tar takes nothing")) };
    let received = receive(from, &mut into).await;
    drop(into);
    // tar's own words tell more than "broken pipe".
    ended(child, words).await?;
    received.map(drop).or_error(Kind::Node, || "the archive broke off".into())
}
