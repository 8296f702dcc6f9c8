//! Builds a commit that was pushed to the lab's own repository, on the node itself: brings it up, runs its checks, and says how it
//! went. No key of the lab is on the node, so what needs one is refused.

use std::{path::Path, sync::Arc, time::Instant};

use lap_base::{
    error::{Error, Kind, OrError, Result},
    words::plural,
};
use lap_snapshots::Id;
use tokio::net::UnixStream;

use super::{
    connected_node::ConnectedNode,
    install::PushFacts,
    master::Master,
    options::{Options, Scope, short},
    responses::unexpected,
    up::up_on,
};
use crate::{
    config::model::OnFailure,
    observe::checkout,
    release::manifest::ReleaseManifest,
    wire::{
        client::{AgentClient, Dial, Stream},
        git::REPOSITORY,
        paths,
        protocol::{CheckResult, NodeConfig, Request, Response, RestorePart},
    },
    workspace::Workspace,
};

/// Builds it. Gives what is to be told when it went well.
///
/// # Errors
/// The commit is no workspace, it cannot be built, is not healthy, or a check fails; what becomes of the environment then, `on_failure`
/// in its env.toml says.
pub async fn build(commit: &str, options: &Options) -> Result<String> {
    let began = Instant::now();
    let seen: PushFacts = read(&Path::new(paths::POLICY).join("push.json"))?;
    let node: NodeConfig = read(Path::new(paths::CONFIG))?;
    let dial: Dial = Arc::new(|| {
        Box::pin(async {
            let stream = UnixStream::connect(paths::SOCKET).await;
            let stream = stream.or_error(Kind::Node, || "the agent does not answer".into())?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    });
    let client = AgentClient::new(&node.node, dial);
    // The container's own git packs the commit: root does not read a repository in the data of a container.
    let pack = client.objects(REPOSITORY, commit, true).await?;
    let files = checkout::unpack(&pack, commit, &tempfile::env::temp_dir())?;
    drop(pack);
    let workspace = Arc::new(Workspace::at(&files.root, Some(&seen.lab))?);
    let environment = workspace.environment(Some(&node.environment))?.clone();
    let master = ConnectedNode { name: environment.master.clone(), client };
    let master = Arc::new(Master { workspace, keys: None, environment, seen, node: master });
    let restores = master.environment.on_failure == OnFailure::Restore;
    let before = if restores { keep(&master, commit, options).await? } else { None };
    match bring_up(&master, options).await {
        Ok((containers, checks)) => Ok(format!(
            "`{}` runs {}: {} healthy, {} passed ({:.1} s)",
            node.environment,
            short(commit),
            plural(containers, "container"),
            plural(checks, "check"),
            began.elapsed().as_secs_f64()
        )),
        Err(error) => Err(failed(&master, before, error, options).await),
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let what = || format!("cannot read `{}`", path.display());
    let text = std::fs::read(path).or_error(Kind::Node, what)?;
    serde_json::from_slice(&text).or_error(Kind::Node, what)
}

/// How many containers run, and how many checks passed.
async fn bring_up(master: &Arc<Master>, options: &Options) -> Result<(usize, usize)> {
    let outcome = up_on(master.clone(), Scope::default(), options).await?;
    outcome.notes.iter().for_each(|note| options.events.note(format!("  {note}")));
    let request = Request::Check { containers: Vec::new() };
    let step = |text: &str| options.events.note(format!("  {text}"));
    let Response::Checked { list } = master.node.client.work(&request, false, |_, _| {}, step).await? else {
        return Err(Error::new(Kind::Node, "the agent does not report the results of the checks"));
    };
    let bad: Vec<&CheckResult> = list.iter().filter(|checked| !checked.ok).collect();
    if let Some(first) = bad.first() {
        let names: Vec<String> = bad.iter().map(|bad| format!("{}/{}", bad.container, bad.check)).collect();
        for bad in &bad {
            options.events.note(format!("  {}/{}:", bad.container, bad.check));
            bad.output.lines().for_each(|line| options.events.note(format!("  | {line}")));
        }
        let said = first.output.lines().next().unwrap_or_default();
        let what = if bad.len() == 1 { "the check" } else { "the checks" };
        let verb = if bad.len() == 1 { "fails" } else { "fail" };
        return Err(Error::new(Kind::Unhealthy, format!("{what} `{}` {verb}: {said}", names.join("`, `"))));
    }
    let running =
        outcome.facts.map_or(0, |facts| facts.containers.iter().filter(|fact| fact.state == "running").count());
    Ok((running, list.len()))
}

/// What to go back to: what ran, and a snapshot of the data.
async fn keep(master: &Master, commit: &str, options: &Options) -> Result<Option<(ReleaseManifest, Id)>> {
    let facts = master.node.client.facts().await?;
    let Some(old) = facts.recorded.value_or_refuse()? else { return Ok(None) };
    let note = Some(format!("before the push of {}", short(commit)));
    let request = Request::TakeSnapshot { holder: options.holder(), wait: true, note, max_pause: None };
    match master.node.client.work(&request, true, |_, _| {}, |_| {}).await? {
        Response::Taken { meta, .. } => Ok(Some((old, meta.id))),
        other => Err(unexpected(&other)),
    }
}

/// Puts back what there is to be put back, and adds to the error what became of the environment.
async fn failed(master: &Arc<Master>, before: Option<(ReleaseManifest, Id)>, error: Error, options: &Options) -> Error {
    let name = &master.environment.name;
    let Some((old, id)) = before else {
        return error.hint(format!("`{name}` stays as it is, for analysis; push again with a correction"));
    };
    options.events.note(format!("  restore what ran before ({})", short(&old.commit)));
    // Git keeps what was pushed: it is there to be looked at, and nothing of it is lost.
    let containers: Vec<String> =
        old.containers.values().filter(|c| c.scale > 0 && c.name != "git").map(|c| c.name.clone()).collect();
    let commit = old.commit.clone();
    let part = RestorePart::Containers(containers);
    let request = Request::RestoreSnapshot { holder: options.holder(), wait: true, id: id.to_string(), part };
    let back = async {
        // What ran first: the data is then put back under it.
        up_on(master.clone(), Scope { instead: Some(Box::new(old)), ..Scope::default() }, options).await?;
        master.node.client.work(&request, true, |_, _| {}, |_| {}).await
    };
    match back.await {
        Ok(_) => error.hint(format!("`{name}` runs {} again, with the data of {id}", short(&commit))),
        Err(stuck) => error
            .hint(format!("the previous containers could not be restored: {}", stuck.message))
            .hint(format!("run `lap restore {id} --env {name}` on an operator's machine, or push again")),
    }
}
