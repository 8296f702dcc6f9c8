//! The Docker of this node.

use std::time::Duration;

use bollard::Docker;
use lap_base::error::{Kind, OrError, Result};

use crate::wire::paths;

/// Docker on this node, in the version it speaks.
///
/// # Errors
/// It does not answer.
pub async fn connect() -> Result<Docker> {
    let docker = Docker::connect_with_unix(paths::DOCKER, 3600, crate::wire::client::OLDEST)
        .or_error(Kind::Node, || "cannot reach Docker".into())?;
    crate::docker::settled(docker).await.or_error(Kind::Node, || "Docker does not answer".into())
}

/// Between two tries to reach a Docker that starts.
const BETWEEN: Duration = Duration::from_millis(200);

/// Docker, as soon as it answers.
///
/// # Errors
/// It does not for very long.
pub async fn answering() -> Result<Docker> {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        match connect().await {
            Err(_) if tokio::time::Instant::now() < until => tokio::time::sleep(BETWEEN).await,
            docker => return docker,
        }
    }
}

/// How long a Docker that was started may take to answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether Docker says of a start that a port is taken.
pub fn port_is_taken(error: &bollard::errors::Error) -> bool {
    let text = error.to_string();
    text.contains("port is already allocated") || text.contains("address already in use")
}
