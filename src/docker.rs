//! This machine's Docker: where `docker` nodes live.

use std::time::Duration;

use bollard::Docker;
use lap_base::error::{Error, Kind, Result};

use crate::wire::client::OLDEST;

/// Docker's socket on this machine.
const SOCKET: &str = "/var/run/docker.sock";

/// Taking in a root file system takes minutes on a slow machine; bollard's own limit is two.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Connects as the `docker` command does (`DOCKER_HOST`, else the local socket), in the version both speak.
///
/// # Errors
/// [`Kind::Host`]: it does not answer, or this user may not ask it.
pub async fn local() -> Result<Docker> {
    // Set to nothing is not set, as for `docker`.
    let host = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    let docker = match host {
        Some(_) => Docker::connect_with_defaults().map(|docker| docker.with_timeout(PATIENCE)),
        None => Docker::connect_with_unix(SOCKET, PATIENCE.as_secs(), OLDEST),
    };
    let unreachable = |error: bollard::errors::Error| unreachable(&error, host.as_deref());
    settled(docker.map_err(unreachable)?).await.map_err(unreachable)
}

/// The same client, in a version its daemon speaks. A ping is answered at once, while the question for versions, which
/// negotiation asks, makes dockerd ask others: so it is asked only if the ping is refused.
///
/// # Errors
/// The daemon does not answer.
pub async fn settled(docker: Docker) -> Result<Docker, bollard::errors::Error> {
    match docker.ping().await {
        Ok(_) => Ok(docker),
        Err(bollard::errors::Error::DockerResponseServerError { .. }) => docker.negotiate_version().await,
        Err(error) => Err(error),
    }
}

fn unreachable(error: &bollard::errors::Error, host: Option<&str>) -> Error {
    let text = error.to_string();
    if text.contains("ermission denied") {
        return Error::new(Kind::Host, "this user may not use Docker on this machine")
            .hint("run as root, or join the group `docker` (its members are root on this machine)");
    }
    if let Some(host) = host {
        return Error::new(Kind::Host, format!("Docker does not answer at `{host}`, where `DOCKER_HOST` points"))
            .hint("start it there, or run `unset DOCKER_HOST` to use this machine's Docker");
    }
    Error::new(Kind::Host, "Docker does not answer on this machine")
        .hint("start it with `sudo systemctl start docker`, or install and start it with `scripts/up`")
}

/// How often something is tried again whose name Docker says is taken: by what a `lap` asked for that was killed then.
pub const AGAIN: u32 = 10;

/// Whether the name is taken: Docker may still be at what was asked for before, and nobody saw it yet.
pub fn name_taken(error: &bollard::errors::Error) -> bool {
    matches!(error, bollard::errors::Error::DockerResponseServerError { status_code: 409, message }
        if message.contains("already in use") || message.contains("is already in progress"))
}

/// An error of Docker's that names its object; a full disk and a taken port are said in plain words.
pub fn failed(what: &str, error: &bollard::errors::Error) -> Error {
    let text = match error {
        bollard::errors::Error::DockerResponseServerError { message, .. } => message.clone(),
        other => other.to_string(),
    };
    let error = Error::new(Kind::Host, format!("{what}: {text}"));
    if text.contains("no space left") {
        return error.hint("the disk is full: `docker system df` and `df -h` show what uses it");
    }
    if text.contains("address already in use") || text.contains("port is already allocated") {
        return error.hint(
            "another program uses that port: find it with `ss -ltnup` and stop it, or change `publish` or `ports`",
        );
    }
    error
}
