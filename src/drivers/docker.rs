//! This machine's Docker: where `docker` nodes live.

use bollard::Docker;

use crate::error::{Error, Kind, Result};

/// Connects as the `docker` command does (`DOCKER_HOST`, else the local socket), in the version both speak.
///
/// # Errors
/// [`Kind::Host`]: it does not answer, or this user may not ask it.
pub async fn local() -> Result<Docker> {
    let docker = Docker::connect_with_defaults().map_err(|error| unreachable(&error))?;
    docker.negotiate_version().await.map_err(|error| unreachable(&error))
}

fn unreachable(error: &bollard::errors::Error) -> Error {
    let text = error.to_string();
    if text.contains("ermission denied") {
        return Error::new(Kind::Host, "this user may not use Docker on this machine")
            .hint("run as root, or join the group `docker` (its members are root on this machine)");
    }
    Error::new(Kind::Host, "Docker does not answer on this machine")
        .hint("start it: `sudo systemctl start docker`, or `scripts/up`, which installs it too")
}

/// An error of Docker's that names its object; a full disk and a taken port are said in plain words.
pub fn failed(what: &str, error: &bollard::errors::Error) -> Error {
    let text = match error {
        bollard::errors::Error::DockerResponseServerError { message, .. } => message.clone(),
        other => other.to_string(),
    };
    let error = Error::new(Kind::Host, format!("{what}: {text}"));
    if text.contains("no space left") {
        return error.hint("the disk is full: `docker system df` and `df -h` show by what");
    }
    if text.contains("address already in use") || text.contains("port is already allocated") {
        return error.hint("another program has that port: `ss -ltnup` shows which; change `publish` or `ports`, or stop it");
    }
    error
}
