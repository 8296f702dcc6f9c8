//! Runs a restore in a child process.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use lap_base::error::{Error, Kind, OrError, Result};

use super::job::RestoreJob;
use crate::{
    relay::{self, Message},
    rights::ReadOnly,
    storage::Storage,
};

/// Restores into `target`. The child inherits this process's standard output, behind which the repository is.
///
/// # Errors
/// The error that the child reports, or the fact that it was killed.
pub fn inherited(job: &RestoreJob, target: &Path) -> Result<()> {
    child(job, target, Stdio::inherit())
}

/// Restores into `target` from a storage of this process. The child gets the files through a connection.
///
/// # Errors
/// The error that the child reports, or the fact that it was killed.
pub fn here_served(job: &RestoreJob, storage: Arc<dyn Storage>, target: &Path) -> Result<()> {
    let what = || "cannot serve the repository to the restore".to_owned();
    let (ours, theirs) = UnixStream::pair().or_error(Kind::Host, what)?;
    ours.set_nonblocking(true).or_error(Kind::Host, what)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().or_error(Kind::Host, what)?;
    let server = std::thread::spawn(move || {
        runtime.block_on(async {
            // The server ends with the child's end of the connection. `child` reports how the child ended.
            if let Ok(stream) = tokio::net::UnixStream::from_std(ours) {
                let _ = relay::serve(stream, "this machine", Arc::new(ReadOnly(storage)), |_| ()).await;
            }
        });
    });
    let restored = child(job, target, Stdio::from(std::os::fd::OwnedFd::from(theirs)));
    let _ = server.join();
    restored
}

fn child(job: &RestoreJob, target: &Path, repository: Stdio) -> Result<()> {
    let what = || "cannot start the process of the restore".to_owned();
    let mut line = serde_json::to_vec(job).or_error(Kind::Other, what)?;
    line.push(b'\n');
    let (mut control, theirs) = UnixStream::pair().or_error(Kind::Host, what)?;
    let mut child = Command::new("/proc/self/exe")
        .args(["agent", "repository-restore"])
        .env("MALLOC_ARENA_MAX", "2")
        .current_dir(target)
        .stdin(std::os::fd::OwnedFd::from(theirs))
        .stdout(repository)
        .spawn()
        .or_error(Kind::Host, what)?;
    let mut said = String::new();
    let heard = control.write_all(&line).and_then(|()| BufReader::new(&control).read_line(&mut said));
    let ended = child.wait().or_error(Kind::Host, what)?;
    match serde_json::from_str(&said) {
        Ok(Message::Done) if heard.is_ok() && ended.success() => Ok(()),
        Ok(Message::Failed { kind, message, hints }) => Err(Error { kind, message, hints }),
        _ => Err(Error::new(Kind::Host, format!("the process of the restore ended without a message ({ended})"))
            .hint("run the command again: it continues")),
    }
}
