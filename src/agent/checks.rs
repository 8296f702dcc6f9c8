//! Runs containers' checks: the programs in their `checks/`, each in a throw-away container beside the running one, with its
//! network, its data (read-only) and no rights. A check asks; it changes nothing.

use std::{
    collections::HashMap,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bollard::{
    Docker,
    models::{ContainerCreateBody, HealthConfig, HostConfig, Mount, MountType},
    query_parameters::{
        CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder, ListImagesOptionsBuilder,
        LogsOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions, WaitContainerOptions,
    },
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use lap_base::{
    error::{Error, Kind, OrError, Result},
    state,
};
use tokio::{io::AsyncWrite, sync::Mutex};

use super::{
    docker, recorded,
    system::{node_config::read_config, stream::say},
};
use crate::{
    release::manifest::ReleaseManifest,
    wire::{
        labels::{LABEL_BUILD, LABEL_CHECK},
        paths,
        protocol::{CheckResult, Response},
    },
};

/// Between two tries to end what a killed agent left.
const AGAIN: Duration = Duration::from_secs(1);
/// How many run at the same time.
const AT_ONCE: usize = 4;
/// What is kept of what a check printed.
const LAST_LINES: &str = "20";
const LAST_BYTES: usize = 4096;

/// Two runs would take each other's containers for leftovers.
static ONE: Mutex<()> = Mutex::const_new(());

/// One script of one container.
struct Check<'a> {
    container: &'a str,
    name: String,
    timeout: Duration,
    /// `None`: its container's own.
    image: Option<Other<'a>>,
    environment: Vec<String>,
}

/// The image of another container.
#[derive(Clone, Copy)]
struct Other<'a> {
    container: &'a str,
    /// What it was built from; `None`: no image of that container is recorded.
    build: Option<&'a str>,
}

/// That no checks run as long as what is returned lives; `None`: some do.
pub(super) fn idle() -> Option<tokio::sync::MutexGuard<'static, ()>> {
    ONE.try_lock().ok()
}

/// Runs every check of every container that should run; `note` is told each before it begins. In order: container, then name.
///
/// # Errors
/// Docker does not answer. A check that cannot be run is one that failed.
pub async fn run(docker: &Docker, current: &ReleaseManifest, note: &(dyn Fn(&str) + Sync)) -> Result<Vec<CheckResult>> {
    let _one = ONE.lock().await;
    sweep(docker).await?;
    let dir = Path::new(paths::CHECKS).join(&current.checks);
    if current.checks.is_empty() {
        return Ok(Vec::new());
    }
    if !dir.is_dir() {
        return Err(Error::new(Kind::Node, "the checks of the running containers are not on the node")
            .hint("`lap up` installs them"));
    }
    let node = node()?;
    let mut all = Vec::new();
    for container in current.containers.values().filter(|container| container.scale > 0) {
        let settings = container.checks.clone().unwrap_or_default();
        let image = container
            .checks
            .as_ref()
            .and_then(|checks| checks.image.as_deref())
            .map(|name| Other { container: name, build: current.images.get(name).map(|image| image.build.as_str()) });
        for name in scripts(&dir.join(&container.name))? {
            all.push(Check {
                container: &container.name,
                name,
                timeout: settings.timeout,
                image,
                environment: container
                    .environment
                    .iter()
                    .map(|(k, v)| format!("{k}={v}"))
                    .chain(node.clone())
                    .collect(),
            });
        }
    }
    let each: Vec<BoxFuture<'_, CheckResult>> =
        all.iter().map(|check| timed(docker, check, &dir, &current.env, note).boxed()).collect();
    Ok(futures_util::stream::iter(each).buffered(AT_ONCE).collect().await)
}

async fn timed(docker: &Docker, check: &Check<'_>, dir: &Path, env: &str, note: &(dyn Fn(&str) + Sync)) -> CheckResult {
    note(&format!("check `{}` of `{}`", check.name, check.container));
    let begun = Instant::now();
    let (ok, output) = one(docker, check, dir, env).await.unwrap_or_else(|error| (false, error.message));
    let (container, name) = (check.container.to_owned(), check.name.clone());
    CheckResult { container, check: name, ok, seconds: begun.elapsed().as_secs_f64(), output }
}

/// The programs in a directory, by name. What is not executable belongs to one that is.
///
/// # Errors
/// The directory cannot be read: that it has no checks would be a guess.
fn scripts(dir: &Path) -> Result<Vec<String>> {
    let executable = |path: &PathBuf| path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o100 != 0);
    let names = state::names(dir).value_or_refuse()?.unwrap_or_default();
    Ok(names.into_iter().filter(|name| executable(&dir.join(name))).collect())
}

/// What a container's environment says of its node.
///
/// # Errors
/// The node's configuration cannot be read.
fn node() -> Result<Vec<String>> {
    let config = read_config()?;
    Ok(vec![format!("LAP_ENVIRONMENT={}", config.environment), format!("LAP_NODE_ADDRESS={}", config.address)])
}

/// Whether it ended with 0, and what it said last.
async fn one(docker: &Docker, check: &Check<'_>, dir: &Path, env: &str) -> Result<(bool, String)> {
    let service = format!("infra_{}", check.container);
    let facts = docker.inspect_container(&service, None::<InspectContainerOptions>).await;
    let facts = facts.or_error(Kind::Node, || format!("`{}` does not run", check.container))?;
    if facts.state.and_then(|state| state.running) != Some(true) {
        return Ok((false, format!("`{}` does not run", check.container)));
    }
    let image = match check.image {
        None => facts.image.unwrap_or_default(),
        Some(other) => of_build(docker, other).await?,
    };
    let in_node = facts.host_config.and_then(|host| host.network_mode).is_some_and(|mode| mode == "host");
    let network = if in_node { "host".to_owned() } else { format!("container:{service}") };
    let id = create(docker, check, body(check, image, network, dir, env)).await?;
    let ended = watch(docker, check, &id).await;
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    // The next run sweeps up what is left.
    let _ = docker.remove_container(&id, Some(options)).await;
    ended
}

/// The image of another container, as the release has it.
async fn of_build(docker: &Docker, other: Other<'_>) -> Result<String> {
    let missing = |why: &str| {
        let name = other.container;
        Error::new(Kind::Node, format!("the image of `{name}` (`checks.image`) is not {why}: `lap up` installs it"))
    };
    let build = other.build.ok_or_else(|| missing("recorded"))?;
    let filters = HashMap::from([("label".to_owned(), vec![format!("{LABEL_BUILD}={build}")])]);
    let options = ListImagesOptionsBuilder::new().filters(&filters).build();
    let images = docker.list_images(Some(options)).await.or_error(Kind::Node, || "cannot list images".into())?;
    images.into_iter().next().map(|image| image.id).ok_or_else(|| missing("on the node"))
}

fn body(check: &Check<'_>, image: String, network: String, dir: &Path, env: &str) -> ContainerCreateBody {
    let mount = |source: String, target: &str| Mount {
        typ: Some(MountType::BIND),
        source: Some(source),
        target: Some(target.to_owned()),
        read_only: Some(true),
        ..Mount::default()
    };
    let of = |list: &[&str]| Some(list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    ContainerCreateBody {
        image: Some(image),
        user: Some("0:0".to_owned()),
        entrypoint: Some(vec![format!("/checks/{}", check.name)]),
        cmd: Some(Vec::new()),
        working_dir: Some("/".to_owned()),
        env: Some(check.environment.clone()),
        labels: Some(HashMap::from([(LABEL_CHECK.to_owned(), format!("{}/{}", check.container, check.name))])),
        healthcheck: Some(HealthConfig { test: of(&["NONE"]), ..HealthConfig::default() }),
        host_config: Some(HostConfig {
            mounts: Some(vec![
                mount(dir.join(check.container).display().to_string(), "/checks"),
                mount(format!("{}/{}", paths::DATA, check.container), "/data"),
                mount(format!("{}/{env}", paths::ENV), "/env"),
                mount(format!("{}/ca-certificates.crt", paths::TRUST), "/etc/ssl/certs/ca-certificates.crt"),
            ]),
            network_mode: Some(network),
            cap_drop: of(&["ALL"]),
            // Data belongs to its container's own user.
            cap_add: of(&["DAC_READ_SEARCH"]),
            security_opt: of(&["no-new-privileges"]),
            readonly_rootfs: Some(true),
            tmpfs: Some(HashMap::from([("/tmp".to_owned(), "mode=1777,size=64m".to_owned())])),
            pids_limit: Some(256),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

async fn create(docker: &Docker, check: &Check<'_>, body: ContainerCreateBody) -> Result<String> {
    let what = || format!("cannot run `{}`", check.name);
    let options = CreateContainerOptionsBuilder::new().build();
    Ok(docker.create_container(Some(options), body).await.or_error(Kind::Node, what)?.id)
}

async fn watch(docker: &Docker, check: &Check<'_>, id: &str) -> Result<(bool, String)> {
    let what = || format!("cannot run `{}`", check.name);
    docker.start_container(id, None::<StartContainerOptions>).await.or_error(Kind::Node, what)?;
    let mut waiting = Box::pin(docker.wait_container(id, None::<WaitContainerOptions>));
    let ended = tokio::time::timeout(check.timeout, waiting.next()).await;
    let said = last_words(docker, id).await;
    let with = |why: String| if said.is_empty() { why } else { format!("{said}\n{why}") };
    Ok(match ended {
        Ok(Some(Ok(_))) => (true, said),
        Ok(Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. }))) => {
            (false, with(format!("it ended with exit code {code}")))
        }
        Ok(Some(Err(error))) => (false, with(error.to_string())),
        Ok(None) => (false, with("Docker does not report how it ended".into())),
        Err(_) => {
            (false, with(format!("it exceeded its time limit of {} s, and lap ended it", check.timeout.as_secs_f64())))
        }
    })
}

/// The end of what a check printed.
async fn last_words(docker: &Docker, id: &str) -> String {
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(LAST_LINES).build();
    let mut lines = docker.logs(id, Some(options));
    let mut said = String::new();
    while let Some(Ok(line)) = lines.next().await {
        said.push_str(&line.to_string());
    }
    let said = said.trim();
    let from = said.char_indices().map(|(at, _)| at).find(|at| said.len() - at <= LAST_BYTES).unwrap_or(0);
    said[from..].to_owned()
}

/// Removes what a killed agent left.
async fn sweep(docker: &Docker) -> Result<()> {
    let filters = HashMap::from([("label".to_owned(), vec![LABEL_CHECK.to_owned()])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let left = docker.list_containers(Some(options)).await.or_error(Kind::Node, || "cannot list containers".into())?;
    for id in left.into_iter().filter_map(|container| container.id) {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let _ = docker.remove_container(&id, Some(options)).await;
    }
    Ok(())
}

/// At the agent's start: what its life before was checking is ended, as soon as Docker answers.
pub async fn recover() {
    let _one = ONE.lock().await;
    loop {
        if let Ok(docker) = docker::connect().await {
            match sweep(&docker).await {
                Ok(()) => return,
                Err(error) => eprintln!("agent: {error}"),
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Runs the checks of what is recorded, tells each, and gives all results.
///
/// # Errors
/// Nothing runs, or Docker does not answer.
pub(super) async fn answer<S: AsyncWrite + Unpin>(stream: &mut S, containers: &[String]) -> Result<Response> {
    let current = recorded::current().value_or_refuse()?;
    let mut current =
        current.ok_or_else(|| Error::new(Kind::Refused, "the node has not run any containers yet").hint("`lap up`"))?;
    if !containers.is_empty() {
        current.containers.retain(|name, _| containers.contains(name));
    }
    let docker = docker::connect().await?;
    let (told, mut steps) = tokio::sync::mpsc::unbounded_channel();
    let note = move |text: &str| {
        let _ = told.send(text.to_owned());
    };
    let work = async move { run(&docker, &current, &note).await };
    let tell = async {
        while let Some(text) = steps.recv().await {
            say(stream, &Response::Step { text }).await;
        }
    };
    let (list, ()) = tokio::join!(work, tell);
    Ok(Response::Checked { list: list? })
}
