//! A container's program that makes a copy of its data fit for this environment. It runs in a throw-away container of the image
//! that runs here: no network, no secrets, not the container's own rights but Docker's usual ones.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use bollard::{
    Docker,
    models::{ContainerCreateBody, HostConfig, Mount, MountType},
    query_parameters::{
        CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder, LogsOptionsBuilder,
        RemoveContainerOptionsBuilder, StartContainerOptions, WaitContainerOptions,
    },
};
use futures_util::StreamExt;
use lap_base::{
    beneath::Dir,
    durable::{remove_file, write_file},
    error::{Error, Kind, OrError, Result},
};
use lap_snapshots::hooks::Scrub;
use tokio::runtime::Handle;

use crate::wire::paths;

/// Says that a container is one of these.
const LABEL: &str = "lap.scrub";

/// While it exists, a throw-away container may be left.
fn record() -> PathBuf {
    Path::new(paths::STATE).join("scrub")
}

/// Whether [`recover`] has something to do.
pub fn is_pending() -> bool {
    !lap_base::state::is_absent(&record())
}

/// Scrubs `copy/<name>`.
pub fn one(
    docker: &Docker,
    name: &str,
    how: &Scrub,
    patience: Duration,
    copy: &Path,
    step: &dyn Fn(&str),
) -> Result<()> {
    let Scrub::Run(command) = how else { return Ok(()) };
    step(&format!("scrub `{name}`"));
    // A container that never ran there has no data there, and one that never ran here none here.
    let (data, before) = (copy.join(name), Path::new(paths::POOL).join("data").join(name));
    for directory in [copy, &Path::new(paths::POOL).join("data")] {
        Dir::open(directory)?.make(Path::new(name))?;
    }
    write_file(&record(), b"", 0o600)?;
    let runtime = Handle::current();
    let scrubbed = runtime.block_on(run(docker, name, command, patience, (&data, &before)));
    runtime.block_on(recover(docker))?;
    scrubbed
}

async fn run(
    docker: &Docker,
    name: &str,
    command: &[String],
    patience: Duration,
    (data, before): (&Path, &Path),
) -> Result<()> {
    let what = || format!("cannot scrub `{name}`");
    let ours = docker.inspect_container(&format!("infra_{name}"), None::<InspectContainerOptions>).await;
    let ours = ours.or_error(Kind::Refused, || format!("`{name}` does not run here, and the scrub needs its image"));
    let ours = ours.map_err(|error| error.hint("`lap up` makes the container"))?;
    let mount = |source: &Path, target: &str, read_only: bool| Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_string_lossy().into_owned()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        ..Mount::default()
    };
    let env = ours.mounts.iter().flatten().find(|mount| mount.destination.as_deref() == Some("/env"));
    let env = env.and_then(|mount| mount.source.as_deref()).map(|source| mount(Path::new(source), "/env", true));
    let mut mounts = vec![mount(data, "/data", false), mount(before, "/before", true)];
    mounts.extend(env);
    let body = ContainerCreateBody {
        image: ours.image,
        entrypoint: Some(command.to_vec()),
        cmd: Some(Vec::new()),
        user: Some("0:0".into()),
        env: ours.config.and_then(|config| config.env),
        labels: Some(HashMap::from([(LABEL.to_owned(), name.to_owned())])),
        network_disabled: Some(true),
        host_config: Some(HostConfig {
            mounts: Some(mounts),
            network_mode: Some("none".into()),
            readonly_rootfs: Some(true),
            tmpfs: Some(HashMap::from([("/tmp".to_owned(), "mode=1777".to_owned())])),
            security_opt: Some(vec!["no-new-privileges".into()]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::new().name(&format!("scrub_{name}")).build();
    remove_all(docker).await?;
    let made = docker.create_container(Some(options), body).await.or_error(Kind::Node, what)?;
    docker.start_container(&made.id, None::<StartContainerOptions>).await.or_error(Kind::Node, what)?;
    let mut waiting = docker.wait_container(&made.id, None::<WaitContainerOptions>);
    let why = match tokio::time::timeout(patience, waiting.next()).await {
        Ok(Some(Ok(_))) => return Ok(()),
        Ok(Some(Err(bollard::errors::Error::DockerContainerWaitError { .. }))) => {
            format!("`scrub` of `{name}` failed{}", last_words(docker, &made.id).await)
        }
        Ok(Some(Err(error))) => return Err(error).or_error(Kind::Node, what),
        Ok(None) => return Err(Error::new(Kind::Node, what())),
        Err(_) => {
            format!("`scrub` of `{name}` exceeded its time limit of {} s, and lap ended it", patience.as_secs_f64())
        }
    };
    Err(Error::new(Kind::Unhealthy, why))
}

async fn last_words(docker: &Docker, id: &str) -> String {
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail("3").build();
    let mut lines = docker.logs(id, Some(options));
    let mut said = String::new();
    while let Some(Ok(line)) = lines.next().await {
        said.push_str(if said.is_empty() { ": " } else { "; " });
        said.push_str(line.to_string().trim_end());
    }
    said
}

/// Removes throw-away containers that are left.
///
/// # Errors
/// Docker refuses.
pub async fn recover(docker: &Docker) -> Result<()> {
    remove_all(docker).await?;
    remove_file(&record())
}

async fn remove_all(docker: &Docker) -> Result<()> {
    let filters = HashMap::from([("label".to_owned(), vec![LABEL.to_owned()])]);
    let list = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let what = || "cannot remove the container of the scrub".to_owned();
    for left in docker.list_containers(Some(list)).await.or_error(Kind::Node, what)?.into_iter().filter_map(|c| c.id) {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        docker.remove_container(&left, Some(options)).await.or_error(Kind::Node, what)?;
    }
    Ok(())
}
