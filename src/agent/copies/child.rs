//! What the agent's child does: one copy or one fetch. The request is on its standard input, and the repository is behind its standard
//! output. The child may be killed at any time.

use std::{
    io::{BufRead, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use lap_base::error::{Error, Kind, OrError, Result};
use lap_repositories::{
    Remote, Repository,
    restore::{
        self,
        job::{RestoreJob, RestoreKind},
    },
    warnings,
    work::{CopySource, copy, fetch},
};
use nix::sys::{prctl::set_pdeathsig, signal::Signal};

use crate::wire::{
    paths,
    protocol::{Request, Response},
};

/// Reads the request and does it; the answer is the last thing written.
pub fn run() -> ExitCode {
    // The agent is gone: only its successor would clean up after this process.
    let _ = set_pdeathsig(Signal::SIGKILL);
    // The other end of standard output, a socket, is the one that asked.
    let Ok(asker) = std::io::stdout().as_fd().try_clone_to_owned().map(UnixStream::from) else {
        return ExitCode::FAILURE;
    };
    let answer = request().and_then(|request| work(&asker, request)).unwrap_or_else(Response::from);
    let failed = matches!(answer, Response::Failed { .. });
    let said = say(&asker, &answer);
    if failed || said.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn say(mut asker: &UnixStream, answer: &Response) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    asker.write_all(&line)
}

fn request() -> Result<Request> {
    let what = || "cannot read the request".to_owned();
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).or_error(Kind::Other, what)?;
    serde_json::from_str(&line).or_error(Kind::Other, what)
}

fn work(asker: &UnixStream, request: Request) -> Result<Response> {
    let pool = Path::new(paths::POOL);
    match request {
        Request::CopySnapshot { id, asked, lab, environment, node, generation, repository, key } => {
            let remote = asker.try_clone().and_then(Remote::start).or_error(Kind::Other, || "the connection".into())?;
            let remote = Arc::new(remote);
            let tell = remote.tell();
            warnings::listen();
            let repository = Repository::open_with(remote, &repository, &key, true, tell)?;
            let (lab, environment, node) = (lab.as_str(), environment.as_str(), node.as_str());
            let source = CopySource { pool, id: &id, lab, environment, node, generation, asked };
            let copied = copy(repository, &source)?;
            Ok(Response::Copied { id: copied.id, added: copied.added, size: copied.size })
        }
        // The child that restores has the connection for itself, and it alone notices when it ends.
        Request::FetchSnapshot { id, restic, generation, repository, key } => {
            let job = RestoreJob { what: RestoreKind::Snapshot, restic, repository, key };
            let meta = fetch(&job.repository, pool, &id, generation, |half| restore::inherited(&job, half))?;
            Ok(Response::Fetched { meta })
        }
        other => Err(Error::new(Kind::Other, format!("not a request for the child process: {other:?}"))),
    }
}
