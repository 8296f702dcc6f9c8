//! Takes images and their names away from Docker. Nothing is forced: what is used stays.

use bollard::{
    Docker,
    errors::Error as DockerError,
    query_parameters::{PruneBuildOptions, RemoveContainerOptionsBuilder, RemoveImageOptions},
};
use lap_base::error::{Error, Kind, OrError, Result};

/// How one answer is to be taken.
enum Ended {
    Done,
    /// Other images stand on it: without a name it is a layer of theirs, and goes with the last of them.
    Below,
}

async fn remove(docker: &Docker, name: &str) -> Result<Ended> {
    match docker.remove_image(name, None::<RemoveImageOptions>, None).await {
        Ok(_) | Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => Ok(Ended::Done),
        Err(DockerError::DockerResponseServerError { status_code: 409, message })
            if message.contains("dependent child") =>
        {
            Ok(Ended::Below)
        }
        Err(error) => Err(error).or_error(Kind::Node, || format!("cannot remove `{name}`")),
    }
}

/// An image, with all its names.
///
/// # Errors
/// Somebody uses it by now.
pub async fn image(docker: &Docker, id: &str, names: &[String]) -> Result<()> {
    for name in names {
        remove(docker, name).await?;
    }
    remove(docker, id).await.map(|_| ())
}

/// Some names of an image that stays.
///
/// # Errors
/// It has no other: then it would go with them.
pub async fn names(docker: &Docker, names: &[String]) -> Result<()> {
    for name in names {
        let there = match docker.inspect_image(name).await {
            Ok(image) => image,
            Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => continue,
            Err(error) => return Err(error).or_error(Kind::Node, || format!("cannot look at `{name}`")),
        };
        let mut others = there.repo_tags.iter().flatten().chain(there.repo_digests.iter().flatten());
        if others.all(|other| names.contains(other)) {
            return Err(Error::new(Kind::Locked, "it is the only name of an image that is needed"));
        }
        remove(docker, name).await?;
    }
    Ok(())
}

/// A container that does not run.
///
/// # Errors
/// It runs by now.
pub async fn container(docker: &Docker, id: &str) -> Result<()> {
    let options = RemoveContainerOptionsBuilder::new().v(true).build();
    match docker.remove_container(id, Some(options)).await {
        Ok(()) | Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        Err(error) => Err(error).or_error(Kind::Node, || "cannot remove it".into()),
    }
}

/// What the builder remembers.
///
/// # Errors
/// Docker refuses.
pub async fn build_cache(docker: &Docker) -> Result<()> {
    let done = docker.prune_build(None::<PruneBuildOptions>).await;
    done.map(|_| ()).or_error(Kind::Node, || "cannot empty the build cache".into())
}
