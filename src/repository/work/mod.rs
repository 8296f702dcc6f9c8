//! What the agent's child does: one copy or one fetch. The request is on its standard input, the repository behind its
//! standard output. It may be killed at any time.

mod copy;
mod fetch;

use std::{
    io::BufRead,
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use nix::sys::{prctl::set_pdeathsig, signal::Signal};

pub use copy::{Copied, Source, copy};
pub use fetch::fetch;

use super::{Repository, remote::Remote, warnings};
use crate::{
    agent::{
        paths,
        protocol::{Answer, Request},
    },
    error::{Error, Kind, OrError, Result},
};

/// Reads the request and does it; the answer is the last thing written.
pub fn run() -> ExitCode {
    // The agent is gone: nobody would clean up after us but its successor.
    let _ = set_pdeathsig(Signal::SIGKILL);
    // Whoever asked is on the other end of standard output, which is a socket.
    let Ok(remote) = std::io::stdout().as_fd().try_clone_to_owned().map(UnixStream::from).and_then(Remote::start)
    else {
        return ExitCode::FAILURE;
    };
    let remote = Arc::new(remote);
    let answer = work(remote.clone()).unwrap_or_else(Answer::from);
    let failed = matches!(answer, Answer::Failed { .. });
    let said = remote.say(&answer, &[]);
    if failed || said.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn work(remote: Arc<Remote>) -> Result<Answer> {
    let what = || "cannot read what to do".to_owned();
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).or_error(Kind::Other, what)?;
    let request: Request = serde_json::from_str(&line).or_error(Kind::Other, what)?;
    let tell = remote.tell();
    let pool = Path::new(paths::POOL);
    warnings::listen();
    match request {
        Request::CopySnapshot { id, asked, lab, environment, node, repository, key } => {
            let repository = Repository::open_with(remote, &repository, &key, true, tell)?;
            let source = Source { pool, id: &id, lab: &lab, environment: &environment, node: &node, asked };
            let copied = copy(repository, &source)?;
            Ok(Answer::Copied { id: copied.id, added: copied.added, size: copied.size })
        }
        Request::FetchSnapshot { id, restic, repository, key } => {
            let repository = Repository::open_with(remote, &repository, &key, false, tell)?;
            Ok(Answer::Fetched { meta: fetch(repository, pool, &id, &restic)? })
        }
        other => Err(Error::new(Kind::Other, format!("this is nothing for a child: {other:?}"))),
    }
}
