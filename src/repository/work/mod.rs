//! What the agent's child does: one copy or one fetch, for which it gets the request and the repository on its standard
//! input. It may be killed at any time.

mod copy;
mod fetch;

use std::{
    io::{BufRead, Write},
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
    let answer = work().unwrap_or_else(Answer::from);
    let failed = matches!(answer, Answer::Failed { .. });
    let Ok(mut line) = serde_json::to_vec(&answer) else { return ExitCode::FAILURE };
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    let said = out.write_all(&line).and_then(|()| out.flush());
    if failed || said.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn work() -> Result<Answer> {
    let what = || "cannot read what to do".to_owned();
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).or_error(Kind::Other, what)?;
    let request: Request = serde_json::from_str(&line).or_error(Kind::Other, what)?;
    let remote = Arc::new(Remote::start());
    let tell = remote.tell();
    let pool = Path::new(paths::POOL);
    warnings::listen();
    match request {
        Request::CopySnapshot { id, lab, environment, node, repository, password } => {
            let repository = Repository::open(remote, &repository, &password, true, tell)?;
            let copied =
                copy(repository, &Source { pool, id: &id, lab: &lab, environment: &environment, node: &node })?;
            Ok(Answer::Copied { id: copied.id, added: copied.added, size: copied.size })
        }
        Request::FetchSnapshot { id, restic, repository, password } => {
            let repository = Repository::open(remote, &repository, &password, false, tell)?;
            Ok(Answer::Fetched { meta: fetch(repository, pool, &id, &restic)? })
        }
        other => Err(Error::new(Kind::Other, format!("this is nothing for a child: {other:?}"))),
    }
}
