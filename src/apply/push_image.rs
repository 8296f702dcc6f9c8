//! Pushes images from a node's Docker into the node's own registry.

use bollard::{
    Docker,
    auth::DockerCredentials,
    query_parameters::{PushImageOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder},
};
use futures_util::StreamExt;
use lap_base::error::{Error, Kind, OrError, Result};

use super::{build::pull, registry::Door, run::node_failed};
use crate::{
    keys::UPLOAD_USER,
    report::LineSink,
    wire::paths::{REGISTRY_ADDRESS, REGISTRY_WRITES},
};

/// So often an image is pushed to a registry that does not answer in time, and so long is waited after the first; twice as long
/// after each that follows.
const TRIES: u32 = 6;
const BETWEEN: std::time::Duration = std::time::Duration::from_secs(2);

/// An image (its id) of a container and a commit, and the door at which the registry takes it.
pub struct PushOrder<'a> {
    /// For messages.
    pub environment: &'a str,
    pub image: &'a str,
    pub container: &'a str,
    pub commit: &'a str,
    pub door: &'a Door,
}

/// Pushes an image into the node's own registry under its commit. A registry that does not answer in time is asked again: Docker itself
/// gives up on a handshake after 10 s, which several at once take where the processor is emulated.
///
/// # Errors
/// The registry refuses, or is full.
pub async fn push(docker: &Docker, order: &PushOrder<'_>, line: &LineSink<'_>) -> Result<()> {
    for n in 0..TRIES - 1 {
        match push_once(docker, order, line).await {
            Err(error) if passing(&error.message) => line("the registry does not answer, trying again"),
            done => return done,
        }
        tokio::time::sleep(BETWEEN * 2_u32.pow(n)).await;
    }
    push_once(docker, order, line).await
}

/// Whether it may be over the next time.
fn passing(message: &str) -> bool {
    ["connection reset", "connection refused", "handshake timeout", "i/o timeout", ": EOF"]
        .iter()
        .any(|text| message.contains(text))
}

async fn push_once(docker: &Docker, order: &PushOrder<'_>, line: &LineSink<'_>) -> Result<()> {
    let name = registry_name(REGISTRY_ADDRESS, order.commit, order.container);
    match order.door {
        Door::Open => send(docker, order, &name, None, line).await,
        Door::Guarded(password) => {
            tag(docker, order, &name).await?;
            let there = registry_name(REGISTRY_WRITES, order.commit, order.container);
            let login = DockerCredentials {
                username: Some(UPLOAD_USER.to_owned()),
                password: Some(password.expose().to_owned()),
                ..DockerCredentials::default()
            };
            send(docker, order, &there, Some(login), line).await?;
            rename(docker, order, &there, &name, line).await
        }
    }
}

/// Docker remembers an image by the address it was pushed to. Releases name images by the address for readers: Docker gets this name from
/// there, which takes no layer again, and forgets the other one.
async fn rename(docker: &Docker, order: &PushOrder<'_>, there: &str, name: &str, line: &LineSink<'_>) -> Result<()> {
    let what = || format!("cannot name the image of `{}`", order.container);
    let inspected = docker.inspect_image(order.image).await.map_err(|error| node_failed(&what(), &error))?;
    let digests = inspected.repo_digests.unwrap_or_default();
    let digest = digests.iter().find_map(|digest| digest.strip_prefix(there)?.strip_prefix('@'));
    let digest = digest.ok_or_else(|| {
        Error::new(Kind::Node, format!("{}: Docker does not report the digest of what it pushed", what()))
    })?;
    // Its other names keep the image. Until the pull below is done, it is not in the registry for lap, which then pushes it again.
    let options = RemoveImageOptionsBuilder::new().noprune(true).build();
    let forgotten = docker.remove_image(&format!("{there}:latest"), Some(options), None).await;
    forgotten.map_err(|error| node_failed(&what(), &error))?;
    pull(docker, &format!("{name}@{digest}"), line).await
}

async fn tag(docker: &Docker, order: &PushOrder<'_>, name: &str) -> Result<()> {
    let options = TagImageOptionsBuilder::new().repo(name).tag("latest").build();
    let tagged = docker.tag_image(order.image, Some(options)).await;
    tagged.or_error(Kind::Node, || format!("cannot push `{}` into the registry", order.container))
}

async fn send(
    docker: &Docker,
    order: &PushOrder<'_>,
    name: &str,
    login: Option<DockerCredentials>,
    line: &LineSink<'_>,
) -> Result<()> {
    let what = format!("cannot push `{}` into the registry", order.container);
    tag(docker, order, name).await?;
    let options = PushImageOptionsBuilder::new().tag("latest").build();
    let mut lines = docker.push_image(name, Some(options), login);
    while let Some(info) = lines.next().await {
        let info = info.or_error(Kind::Node, || what.clone())?;
        if let Some(error) = info.error_detail.and_then(|error| error.message) {
            return Err(Error::new(Kind::Node, format!("{what}: {error}"))
                .hint(format!("`lap logs {}/registry` shows details", order.environment)));
        }
        line(&info.status.unwrap_or_default());
    }
    Ok(())
}

/// `infra/<commit>/<name>`: what it is called in a registry, here in the one at `address`.
fn registry_name(address: &str, commit: &str, container: &str) -> String {
    format!("{address}/infra/{commit}/{container}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert!(passing(
            "Get \"http://localhost:5000/v2/\": read tcp [::1]:1->[::1]:5000: read: connection reset by peer"
        ));
        assert!(passing("net/http: TLS handshake timeout"));
        assert!(!passing("received unexpected HTTP status: 500 Internal Server Error"));
    }
}
