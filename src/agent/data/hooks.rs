//! What containers do around a snapshot (`[snapshot]` in container.toml). Nothing stays frozen: `after` runs whatever became of
//! `before`, also when the agent died in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bollard::{Docker, query_parameters::InspectContainerOptions};
use futures_util::future::join_all;
use lap_base::{
    durable::{remove_file, write_file},
    error::{Error, Kind, OrError, Result},
    state::{self, State},
};
use lap_snapshots::{HookRan, hooks::SnapshotHooks};
use serde::{Deserialize, Serialize};

use crate::{
    agent::{
        data::frozen,
        docker::{self, health},
        recorded,
    },
    wire::paths,
};

/// Of `state/current.json` what counts here.
#[derive(Deserialize)]
struct Current {
    containers: BTreeMap<String, Container>,
}

#[derive(Deserialize)]
struct Container {
    snapshot: Option<SnapshotHooks>,
}

/// One container's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainerHook {
    container: String,
    hooks: SnapshotHooks,
}

impl ContainerHook {
    /// Whose they are.
    pub fn container(&self) -> &str {
        &self.container
    }
}

/// The hooks of what runs.
pub fn of(current: Option<&serde_json::Value>, running: &[String]) -> Vec<ContainerHook> {
    let current = current.and_then(|json| serde_json::from_value::<Current>(json.clone()).ok());
    let containers = current.map(|current| current.containers).unwrap_or_default();
    let hook = |(container, of): (String, Container)| Some(ContainerHook { hooks: of.snapshot?, container });
    let has_some = |hook: &ContainerHook| !hook.hooks.before.is_empty() || !hook.hooks.after.is_empty();
    containers.into_iter().filter(|(name, _)| running.contains(name)).filter_map(hook).filter(has_some).collect()
}

/// Runs `work` between the hooks; says what they did.
///
/// # Errors
/// A `before` failed or took too long: then `work` was not done; or `work` failed.
pub async fn around<T>(
    docker: &Docker,
    hooks: Vec<ContainerHook>,
    work: impl Future<Output = Result<T>>,
) -> Result<(T, Vec<HookRan>)> {
    if hooks.is_empty() {
        return work.await.map(|done| (done, Vec::new()));
    }
    let _running = RunningHooks::of(&hooks);
    let (frozen, path) = (frozen::frozen(), record());
    // `after` of a frozen container waits until the container goes on.
    let left: Vec<ContainerHook> = match state::json::<Vec<ContainerHook>>(&path) {
        State::Value(old) => old.into_iter().filter(|hook| frozen.contains(&hook.container)).collect(),
        State::Absent | State::Unreadable(_) => Vec::new(),
    };
    // Before anything is frozen: whoever finds this at the next start lets it go on.
    write(&path, &hooks.iter().chain(&left).cloned().collect::<Vec<_>>())?;
    let before = all(docker, &hooks, "before", |hooks| &hooks.before).await;
    let done = match failures(&before).next() {
        None => work.await,
        Some(why) => Err(Error::new(Kind::Unhealthy, format!("no snapshot was taken: {why}"))),
    };
    let after = all(docker, &hooks, "after", |hooks| &hooks.after).await;
    if failures(&after).next().is_none() {
        let _ = write(&path, &left);
    }
    match done {
        Ok(done) => Ok((done, before.into_iter().chain(after).collect())),
        Err(error) => Err(failures(&after).fold(error, Error::hint)),
    }
}

/// Whether an `after` has to run that can: not in a container that is frozen because of its data.
pub fn is_pending() -> bool {
    match state::json::<Vec<ContainerHook>>(&record()) {
        State::Absent => false,
        State::Value(hooks) => has_some_to_run(&hooks, &frozen::frozen()),
        State::Unreadable(_) => true,
    }
}

fn has_some_to_run(hooks: &[ContainerHook], frozen: &BTreeSet<String>) -> bool {
    hooks.iter().any(|hook| !frozen.contains(&hook.container))
}

/// The containers whose hooks run around a snapshot now. Not read from the record: a container whose `after` always fails would stay in it.
static RUNNING: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn running() -> MutexGuard<'static, BTreeSet<String>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The containers that are between their `before` and their `after`.
pub fn under_way() -> BTreeSet<String> {
    running().clone()
}

/// The containers are in [`RUNNING`] as long as this exists.
struct RunningHooks(Vec<String>);

impl RunningHooks {
    fn of(hooks: &[ContainerHook]) -> Self {
        let containers: Vec<String> = hooks.iter().map(|hook| hook.container.clone()).collect();
        running().extend(containers.iter().cloned());
        Self(containers)
    }
}

impl Drop for RunningHooks {
    fn drop(&mut self) {
        let mut running = running();
        for container in &self.0 {
            running.remove(container);
        }
    }
}

/// Records the hooks whose `after` has to run; none: removes the record.
fn write(path: &Path, hooks: &[ContainerHook]) -> Result<()> {
    if hooks.is_empty() {
        return remove_file(path);
    }
    let text = serde_json::to_vec(hooks).or_error(Kind::Other, || "hooks".into())?;
    write_file(path, &text, 0o600)
}

/// What went wrong, a sentence each.
pub fn failures(hooks: &[HookRan]) -> impl Iterator<Item = &str> {
    hooks.iter().filter_map(|hook| hook.failed.as_deref())
}

/// Lets go on what was frozen when the agent died, or whose `after` failed.
///
/// # Errors
/// An `after` failed: call it again.
pub async fn recover(docker: &Docker) -> Result<()> {
    let path = record();
    let hooks = match state::json::<Vec<ContainerHook>>(&path) {
        State::Absent => return Ok(()),
        State::Value(hooks) => hooks,
        // Which ones were frozen is not known: the hooks of all that run are run.
        State::Unreadable(why) => {
            eprintln!("agent: {}", why.sentence());
            let running: Vec<String> = docker::names_by_id().await.into_values().collect();
            of(recorded::described().as_ref(), &running)
        }
    };
    // A hook in a frozen container would fail: it runs when the container goes on.
    let frozen = frozen::frozen();
    let (mut left, hooks): (Vec<_>, Vec<_>) = hooks.into_iter().partition(|hook| frozen.contains(&hook.container));
    let ran = all(docker, &hooks, "after", |hooks| &hooks.after).await;
    let failed: Vec<&str> = ran.iter().filter(|ran| ran.failed.is_some()).map(|ran| ran.container.as_str()).collect();
    let mut is_failed = false;
    for container in failed {
        if is_there(docker, container).await {
            is_failed = true;
            left.extend(hooks.iter().filter(|hook| hook.container == container).cloned());
        }
    }
    write(&path, &left)?;
    match failures(&ran).next().filter(|_| is_failed) {
        Some(why) => Err(Error::new(Kind::Unhealthy, why)),
        None => Ok(()),
    }
}

/// Whether there is still such a container: with it goes what its hook had frozen.
async fn is_there(docker: &Docker, container: &str) -> bool {
    let found = docker.inspect_container(&format!("infra_{container}"), None::<InspectContainerOptions>).await;
    !matches!(found, Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }))
}

fn record() -> PathBuf {
    PathBuf::from(paths::STATE).join("hooks.json")
}

/// Runs one hook of all at the same time.
async fn all(
    docker: &Docker,
    hooks: &[ContainerHook],
    which: &str,
    of: impl Fn(&SnapshotHooks) -> &Vec<String>,
) -> Vec<HookRan> {
    let with = hooks.iter().filter(|hook| !of(&hook.hooks).is_empty());
    let each = with.map(async |hook| {
        let begun = Instant::now();
        let failed = run(docker, &hook.container, which, of(&hook.hooks), hook.hooks.timeout).await;
        let micros = begun.elapsed().as_micros() as u64;
        HookRan { container: hook.container.clone(), hook: which.to_owned(), micros, failed }
    });
    join_all(each).await
}

async fn run(docker: &Docker, name: &str, which: &str, command: &[String], patience: Duration) -> Option<String> {
    let exec = Mutex::new(String::new());
    let begun = |id: &str| {
        if let Ok(mut exec) = exec.lock() {
            id.clone_into(&mut exec);
        }
    };
    let container = format!("infra_{name}");
    let ran = health::exec_told(docker, &container, command.to_vec(), begun);
    let hook = format!("the hook `{which}` of `{name}`");
    match tokio::time::timeout(patience, ran).await {
        Ok(Ok(checked)) if checked.passed => None,
        Ok(Ok(checked)) if checked.said.is_empty() => Some(format!("{hook} failed")),
        Ok(Ok(checked)) => Some(format!("{hook} failed: {}", checked.said)),
        Ok(Err(error)) => Some(format!("{hook}: {}", error.message)),
        Err(_) => {
            let id = exec.into_inner().unwrap_or_default();
            // Docker has no way to end it; it is the first of a process group on this node.
            let pid = docker.inspect_exec(&id).await.ok().and_then(|exec| exec.pid);
            if let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 1) {
                let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            }
            Some(format!("{hook} exceeded its time limit of {} s, and lap ended it", patience.as_secs_f64()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(container: &str) -> ContainerHook {
        ContainerHook { container: container.into(), hooks: SnapshotHooks::default() }
    }

    #[test]
    fn a_container_is_under_way_as_long_as_its_hooks_run() {
        let running = RunningHooks::of(&[hook("under-way")]);
        assert!(under_way().contains("under-way"));
        drop(running);
        assert!(!under_way().contains("under-way"));
    }

    #[test]
    fn what_waits_for_frozen_containers_only_is_not_pending() {
        let frozen = BTreeSet::from(["web".to_owned()]);
        assert!(!has_some_to_run(&[hook("web")], &frozen));
        assert!(has_some_to_run(&[hook("web"), hook("db")], &frozen));
    }
}
