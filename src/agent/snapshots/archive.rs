//! A whole snapshot as one tar file, out of the node and into it. GNU tar makes and reads it, on the node: owners, times, hard
//! links, holes, attributes and ACLs as they are; sockets are left out, as no archive has them.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use lap_base::error::{Error, Kind, OrError, Result};
use lap_snapshots as snapshot;
use lap_snapshots::Meta;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, BufReader},
    process::{Child, Command},
    task::JoinHandle,
};

use crate::wire::{
    archive_stream::{receive, send},
    paths,
    protocol::Response,
};

/// What an archive holds: the description, and the data.
const MEMBERS: [&str; 2] = ["meta.json", "data"];

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

/// Waits for a program's end.
async fn ended(program: &str, mut child: Child, words: JoinHandle<String>) -> Result<()> {
    let status = child.wait().await.or_error(Kind::Node, || program.to_owned())?;
    if status.success() {
        return Ok(());
    }
    let last = words.await.unwrap_or_default();
    Err(Error::new(Kind::Node, format!("`{program}` failed: {last}")))
}

/// A program that writes what is to be sent. It runs before anything is promised to whoever takes it.
pub struct ArchiveSource {
    program: &'static str,
    child: Child,
    words: JoinHandle<String>,
}

impl ArchiveSource {
    /// Starts `command`.
    ///
    /// # Errors
    /// The program is not there.
    pub fn of(program: &'static str, mut command: Command) -> Result<Self> {
        let child = command.stdout(Stdio::piped()).spawn();
        let mut child = child.or_error(Kind::Node, || format!("cannot run `{program}`"))?;
        let words = words(&mut child);
        Ok(Self { program, child, words })
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// The program fails, or nobody takes it.
    pub async fn send(mut self, to: &mut (impl AsyncWrite + Unpin)) -> Result<Response> {
        if let Some(out) = self.child.stdout.take() {
            send(out, to).await.or_error(Kind::Node, || "the connection broke".into())?;
        }
        ended(self.program, self.child, self.words).await.map(|()| Response::Done)
    }
}

/// Begins to pack a snapshot.
///
/// # Errors
/// tar is not there.
pub fn pack(meta: &Meta) -> Result<ArchiveSource> {
    let directory = Path::new(paths::POOL).join("snapshots").join(meta.id.to_string());
    ArchiveSource::of("tar", tar(["--create", "--sparse", "--format=posix"], &directory))
}

/// Takes a snapshot and gives it its name.
///
/// # Errors
/// It is no such archive, one of that name is there, or the disk is full: then nothing is left.
pub async fn import(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Response> {
    let (pool, half) = (Path::new(paths::POOL), PathBuf::from(paths::POOL).join("snapshots/.new-import"));
    let number = snapshot::prepare_import(&half)?;
    let unpacked = unpack(from, &half).await;
    let named = unpacked.and_then(|()| snapshot::finish_import(pool, &half, number));
    if named.is_err() {
        snapshot::drop_half(&half)?;
    }
    named.map(|meta| Response::Taken { meta, micros: 0, complaints: Vec::new() })
}

/// Unpacks one into the directory `half`, in which `data` is there already.
///
/// # Errors
/// It is no archive, broke off, or the disk is full.
pub async fn unpack(from: &mut (impl AsyncBufRead + Unpin), half: &Path) -> Result<()> {
    feed("tar", tar(["--extract", "--same-owner", "--preserve-permissions"], half), from).await.map(drop)
}

/// Gives a program what is received, to the end of both; says how many bytes it was.
///
/// # Errors
/// The program is not there or fails, or the archive broke off.
pub async fn feed(program: &str, mut command: Command, from: &mut (impl AsyncBufRead + Unpin)) -> Result<u64> {
    let child = command.stdin(Stdio::piped()).spawn();
    let mut child = child.or_error(Kind::Node, || format!("cannot run `{program}`"))?;
    let words = words(&mut child);
    let into = child.stdin.take();
    let Some(mut into) = into else { return Err(Error::new(Kind::Node, format!("`{program}` reads no input"))) };
    let received = receive(from, &mut into).await;
    drop(into);
    // The program's own words tell more than "broken pipe".
    ended(program, child, words).await?;
    received.or_error(Kind::Node, || "the archive is incomplete".into())
}
