//! Does what was decided, a kind after the other: first what needs others, so that nothing that is listed ever lacks something.

use std::{fs, path::Path};

use bollard::Docker;
use lap_base::{
    durable,
    error::{Error, Kind, OrError, Result},
};

use super::{docker, recover::registry_data, registry};
use crate::{
    agent::{install::directory, pool::binds, snapshots},
    wire::{
        paths,
        protocol::InstallTarget,
        prune::{ItemKind, PruneDecision, PruneRules, Todo},
    },
};

/// The step that takes this kind away.
fn step(what: ItemKind) -> &'static str {
    match what {
        ItemKind::Release => "remove releases",
        ItemKind::Snapshot => "remove snapshots",
        ItemKind::Container => "remove containers",
        ItemKind::Image => "remove images",
        ItemKind::Files => "remove files",
        ItemKind::Registry => "remove images from the registry",
        ItemKind::Layers => "set layers aside",
        ItemKind::BuildCache => "empty the build cache",
        ItemKind::NodeImage => "remove images of nodes",
    }
}

/// Does it. What cannot be done is said in its decision; the rest is done all the same.
///
/// # Errors
/// Docker does not answer.
pub async fn act(mut decisions: Vec<PruneDecision>, rules: &PruneRules, tell: &OnStep) -> Result<Vec<PruneDecision>> {
    let docker = crate::agent::docker::connect().await?;
    let mut kind = None;
    for decision in &mut decisions {
        let Some(todo) = decision.todo.clone() else { continue };
        if kind != Some(decision.what) {
            tell(step(decision.what));
            kind = Some(decision.what);
        }
        match one(&docker, &todo, rules, tell).await {
            Ok(()) => {}
            // Somebody needs it by now.
            Err(error) if error.kind == Kind::Locked => (decision.todo, decision.why) = (None, error.message),
            Err(error) => decision.failed = Some(error.message),
        }
    }
    let tidied = run_blocking(|| registry::tidy(&registry_data())).await;
    if let Err(error) = tidied {
        eprintln!("agent: {error}");
    }
    if let Err(error) = binds::sweep(&docker).await {
        eprintln!("agent: {error}");
    }
    Ok(decisions)
}

async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.or_error(Kind::Other, || "the agent".into())?
}

async fn one(docker: &Docker, todo: &Todo, rules: &PruneRules, tell: &OnStep) -> Result<()> {
    match todo.clone() {
        Todo::Release(number) => run_blocking(move || release(number)).await,
        Todo::Snapshot(id) => run_blocking(move || snapshots::remove(&id.to_string()).map(drop)).await,
        Todo::Container(id) => docker::container(docker, &id).await,
        Todo::Image { id, names } => docker::image(docker, &id, &names).await,
        Todo::Files { place, name } => run_blocking(move || files(&place, name)).await,
        Todo::Manifest { repository, digest, names } => {
            docker::names(docker, &names).await?;
            run_blocking(move || registry::remove(&registry_data(), &repository, &digest)).await
        }
        Todo::Layers => registry::sweep(&registry_data(), rules, tell).await,
        Todo::BuildCache => docker::build_cache(docker).await,
        Todo::NodeImage(tag) => Err(Error::new(Kind::Other, format!("`{tag}` is not on a node"))),
    }
}

/// The file that makes it one goes last.
fn release(number: u64) -> Result<()> {
    let dir = Path::new(paths::STATE).join("releases");
    for name in [format!("{number}.names.json"), format!("{number}.json")] {
        let path = dir.join(name);
        // What it needs is removed next, on other file systems too: after a power cut, it must not be listed without that.
        durable::remove_file(&path)?;
    }
    Ok(())
}

/// First its name, so that half of it is never taken for all of it, also after a power cut.
fn files(place: &str, name: String) -> Result<()> {
    let place = match place {
        "env" => InstallTarget::Env(name),
        "checks" => InstallTarget::Checks(name),
        _ => InstallTarget::Staged(name),
    };
    let dir = directory(&place)?;
    let gone = dir.with_extension("lap-new");
    if gone != dir {
        let _ = fs::remove_dir_all(&gone);
        let renamed = fs::rename(&dir, &gone).and_then(|()| durable::sync_names(&dir, &gone));
        renamed.or_error(Kind::Node, || format!("cannot rename `{}`", dir.display()))?;
    }
    fs::remove_dir_all(&gone).or_error(Kind::Node, || format!("cannot remove `{}`", gone.display()))
}

/// Tells a step as it begins.
pub type OnStep = Box<dyn Fn(&str) + Send + Sync>;
