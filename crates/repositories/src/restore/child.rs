//! The child process of a restore. Its standard input is a socket, on which it receives its job as one line and sends
//! its result as one line. The repository is behind its standard output. Its working directory is the target.

use std::{
    io::{BufRead, BufReader, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::ExitCode,
    sync::Arc,
};

use lap_base::error::{Error, Kind, OrError, Result};
use nix::{
    fcntl::{Flock, FlockArg},
    sys::{prctl::set_pdeathsig, signal::Signal},
};

use super::{
    confine::confine,
    here::here,
    job::{RestoreJob, RestoreKind},
};
use crate::{open::Repository, relay::Message, remote::Remote, warnings};

/// Runs the child process and returns its exit code.
pub fn run() -> ExitCode {
    // Without its parent, this process would not be cleaned up.
    let _ = set_pdeathsig(Signal::SIGKILL);
    let Ok(mut control) = socket(std::io::stdin()) else { return ExitCode::FAILURE };
    let answer = work(&control).map_or_else(Message::from, |()| Message::Done);
    let failed = matches!(answer, Message::Failed { .. });
    let said = serde_json::to_vec(&answer).map_err(std::io::Error::other).and_then(|mut line| {
        line.push(b'\n');
        control.write_all(&line)
    });
    if failed || said.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn socket(end: impl AsFd) -> std::io::Result<UnixStream> {
    end.as_fd().try_clone_to_owned().map(|fd: OwnedFd| UnixStream::from(fd))
}

fn work(control: &UnixStream) -> Result<()> {
    let what = || "cannot read the request".to_owned();
    let mut line = String::new();
    BufReader::new(control).read_line(&mut line).or_error(Kind::Other, what)?;
    let job: RestoreJob = serde_json::from_str(&line).or_error(Kind::Other, what)?;
    // The lock is held to the end, so the directory is not removed while this process writes into it.
    let directory = std::fs::File::open(".").or_error(Kind::Host, || "cannot open the target".into())?;
    let _held = Flock::lock(directory, FlockArg::LockShared)
        .map_err(|(_, error)| Error::new(Kind::Host, format!("cannot lock the target: {error}")))?;
    warnings::listen();
    // On a node, root restores files that may be forged. There, the restore must be confined.
    let target = confine(job.what == RestoreKind::Snapshot)?;
    let remote = socket(std::io::stdout()).and_then(Remote::start).or_error(Kind::Other, what)?;
    let remote = Arc::new(remote);
    let tell = remote.tell();
    let repository = Repository::open_with(remote, &job.repository, &job.key, false, tell)?;
    here(repository, job.what, &job.restic, &target)
}
