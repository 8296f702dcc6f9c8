//! The containers of a switch: the old ones are kept, stopped and under another name, until the release is made.

use std::collections::HashMap;

use bollard::{
    Docker,
    errors::Error as DockerError,
    query_parameters::{
        CreateContainerOptionsBuilder, InspectContainerOptions, RemoveContainerOptionsBuilder,
        RenameContainerOptionsBuilder, StopContainerOptions,
    },
};
use futures_util::future::join_all;
use lap_base::error::{Kind, OrError, Result};

use crate::{
    agent::{
        daemons::{containerd::Right, shims},
        docker,
        pool::{self, binds},
    },
    docker::{AGAIN, name_taken},
    release::Make,
    wire::labels::KEPT,
};

/// Says which switch made a container: the number of its lock.
const MADE_BY: &str = "lap.switch";
/// Between two tries for what is about to become free.
const BETWEEN: std::time::Duration = std::time::Duration::from_millis(200);

pub fn name(container: &str) -> String {
    format!("infra_{container}")
}

/// What it is called while it is kept.
pub fn kept(container: &str) -> String {
    format!("{KEPT}{container}")
}

fn is_gone<T>(result: &std::result::Result<T, DockerError>) -> bool {
    matches!(result, Err(DockerError::DockerResponseServerError { status_code: 404, .. }))
}

/// Stops these, all at the same time.
///
/// # Errors
/// One does not stop.
pub async fn stop(docker: &Docker, containers: &[String]) -> Result<()> {
    let each = containers.iter().map(|container| async move {
        let stopped = docker.stop_container(&name(container), None::<StopContainerOptions>).await;
        if is_gone(&stopped) { Ok(()) } else { stopped.or_error(Kind::Node, || format!("cannot stop `{container}`")) }
    });
    join_all(each).await.into_iter().collect()
}

/// Takes their names away, so that the new ones can have them.
///
/// # Errors
/// Docker refuses.
pub async fn put_aside(docker: &Docker, containers: &[String]) -> Result<()> {
    for container in containers {
        rename(docker, &name(container), &kept(container)).await?;
    }
    Ok(())
}

async fn rename(docker: &Docker, from: &str, to: &str) -> Result<()> {
    let options = RenameContainerOptionsBuilder::new().name(to).build();
    let renamed = docker.rename_container(from, options).await;
    if is_gone(&renamed) { Ok(()) } else { renamed.or_error(Kind::Node, || format!("cannot rename `{from}`")) }
}

/// Makes one and starts it.
///
/// # Errors
/// Docker refuses.
pub async fn start(docker: &Docker, make: &Make, fence: u64) -> Result<()> {
    let name = name(&make.name);
    pool::make_data(&make.name)?;
    let mut body = make.body.clone();
    binds::replace(&mut body)?;
    body.labels.get_or_insert_default().insert(MADE_BY.to_owned(), fence.to_string());
    for attempt in 1.. {
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        match docker.create_container(Some(options), body.clone()).await {
            Ok(_) => break,
            Err(error) if attempt < AGAIN && name_taken(&error) => tokio::time::sleep(BETWEEN).await,
            Err(error) => return Err(error).or_error(Kind::Node, || format!("cannot create `{}`", make.name)),
        }
    }
    start_again(docker, &make.name).await
}

/// Starts one that is there. Whoever had its ports a moment ago may not have let them go.
async fn start_again(docker: &Docker, container: &str) -> Result<()> {
    binds::refresh_and_tell();
    for attempt in 1.. {
        match shims::start(docker, &name(container), Right::Held).await {
            Ok(()) => break,
            Err(error) if attempt < AGAIN && docker::port_is_taken(&error) => tokio::time::sleep(BETWEEN).await,
            Err(error) => return Err(error).or_error(Kind::Node, || format!("cannot start `{container}`")),
        }
    }
    Ok(())
}

/// Removes those of `containers` that this switch made, whatever they do.
///
/// # Errors
/// Docker refuses.
pub async fn remove_new(docker: &Docker, containers: &[String], fence: u64) -> Result<()> {
    let each = containers.iter().map(|container| async move {
        let name = name(container);
        let there = docker.inspect_container(&name, None::<InspectContainerOptions>).await;
        if is_gone(&there) {
            return Ok(());
        }
        let there = there.or_error(Kind::Node, || format!("cannot look at `{container}`"))?;
        let labels: HashMap<String, String> = there.config.and_then(|config| config.labels).unwrap_or_default();
        if labels.get(MADE_BY) != Some(&fence.to_string()) {
            return Ok(());
        }
        // In its grace period: what it writes then is part of what is kept for looking at.
        let _ = docker.stop_container(&name, None::<StopContainerOptions>).await;
        remove(docker, &name).await
    });
    join_all(each).await.into_iter().collect()
}

async fn remove(docker: &Docker, name: &str) -> Result<()> {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    let removed = docker.remove_container(name, Some(options)).await;
    if is_gone(&removed) { Ok(()) } else { removed.or_error(Kind::Node, || format!("cannot remove `{name}`")) }
}

/// Gives those that were put aside their names back.
///
/// # Errors
/// Docker refuses.
pub async fn take_back(docker: &Docker, containers: &[String]) -> Result<()> {
    let mut all = Ok(());
    for container in containers {
        // One that still has its name was never put aside.
        all = all.and(rename(docker, &kept(container), &name(container)).await);
    }
    all
}

/// Starts these one after the other, as they were started before; one that does not start keeps no other from it.
///
/// # Errors
/// The first that does not start.
pub async fn start_all(docker: &Docker, containers: &[String]) -> Result<()> {
    let mut all = Ok(());
    for container in containers {
        all = all.and(start_again(docker, container).await);
    }
    all
}

/// Removes what was put aside: nobody needs it any more.
///
/// # Errors
/// Docker refuses.
pub async fn forget(docker: &Docker, containers: &[String]) -> Result<()> {
    for container in containers {
        remove(docker, &kept(container)).await?;
    }
    Ok(())
}
