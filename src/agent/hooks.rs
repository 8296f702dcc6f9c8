//! What containers do around a snapshot (`[snapshot]` in container.toml). Nothing stays frozen: `after` runs whatever became of
//! `before`, also when the agent died in between.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Mutex, time::Duration};

use bollard::Docker;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::{health, install::write_file, paths};
use crate::{
    error::{Error, Kind, OrError, Result},
    snapshot::hooks::Hooks,
};

/// Of `state/current.json` what counts here.
#[derive(Deserialize)]
struct Current {
    containers: BTreeMap<String, Container>,
}

#[derive(Deserialize)]
struct Container {
    snapshot: Option<Hooks>,
}

/// One container's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hook {
    container: String,
    hooks: Hooks,
}

/// The hooks of what runs.
pub fn of(current: Option<&serde_json::Value>, running: &[String]) -> Vec<Hook> {
    let current = current.and_then(|json| serde_json::from_value::<Current>(json.clone()).ok());
    let containers = current.map(|current| current.containers).unwrap_or_default();
    let hook = |(container, of): (String, Container)| Some(Hook { hooks: of.snapshot?, container });
    containers.into_iter().filter(|(name, _)| running.contains(name)).filter_map(hook).collect()
}

/// Runs `work` between the hooks; says what went wrong after it.
///
/// # Errors
/// A `before` failed or took too long: then `work` was not done; or `work` failed.
pub async fn around<T>(
    docker: &Docker,
    hooks: Vec<Hook>,
    work: impl Future<Output = Result<T>>,
) -> Result<(T, Vec<String>)> {
    if hooks.is_empty() {
        return work.await.map(|done| (done, Vec::new()));
    }
    // Before anything is frozen: whoever finds this at the next start lets it go on.
    let text = serde_json::to_vec(&hooks).or_error(Kind::Other, || "hooks".into())?;
    write_file(&record(), &text, 0o600)?;
    let before = all(docker, &hooks, "before", |hooks| &hooks.before).await;
    let done = match before.into_iter().next() {
        None => work.await,
        Some(why) => Err(Error::new(Kind::Unhealthy, format!("no snapshot was taken: {why}"))),
    };
    let after = all(docker, &hooks, "after", |hooks| &hooks.after).await;
    if after.is_empty() {
        let _ = fs::remove_file(record());
    }
    match done {
        Ok(done) => Ok((done, after)),
        Err(error) => Err(after.into_iter().fold(error, Error::hint)),
    }
}

/// Lets go on what was frozen when the agent died.
pub async fn recover(docker: &Docker) {
    let Ok(text) = fs::read(record()) else { return };
    let hooks: Vec<Hook> = serde_json::from_slice(&text).unwrap_or_default();
    for why in all(docker, &hooks, "after", |hooks| &hooks.after).await {
        eprintln!("agent: {why}");
    }
    let _ = fs::remove_file(record());
}

fn record() -> PathBuf {
    PathBuf::from(paths::STATE).join("hooks.json")
}

/// Runs one hook of all at the same time; what went wrong, a sentence each.
async fn all(docker: &Docker, hooks: &[Hook], which: &str, of: impl Fn(&Hooks) -> &Vec<String>) -> Vec<String> {
    let with = hooks.iter().filter(|hook| !of(&hook.hooks).is_empty());
    let each = with.map(|hook| run(docker, &hook.container, which, of(&hook.hooks), hook.hooks.timeout));
    join_all(each).await.into_iter().flatten().collect()
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
            Some(format!("{hook} took longer than {} s and was ended", patience.as_secs_f64()))
        }
    }
}
