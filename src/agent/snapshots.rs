//! Snapshots and restores of this node: [`crate::snapshot`] with the node's own pool, mounts and Docker around it.

mod node;
mod policy;
mod rest;
mod take;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use rustix::fs::FileType;
use tokio::runtime::Handle;

pub use take::take;

use super::{facts, hooks, into, mounts, pool, recorded, still, switch};
use crate::{
    beneath::{Dir, Walk},
    clock::now,
    error::{Error, Kind, OrError, Result},
    release::manifest::Current,
    snapshot::{
        self, Reason, Restore,
        keep::{Decision, decide},
        only::Only,
    },
    state::{self, State, Unreadable},
    wire::{
        paths,
        protocol::{Answer, ListedSnapshot, Part, SnapshotFacts},
    },
};
use node::Node;

/// What restores under way are written down in.
const RECORDS: [&str; 2] = ["restore.json", "restore-only.json"];

/// The pool. Not `/data`: that is away in the middle of a restore.
pub(super) fn pool_path() -> Result<&'static Path> {
    if pool::is_mounted(paths::POOL) {
        return Ok(Path::new(paths::POOL));
    }
    Err(Error::new(Kind::Refused, format!("there is no pool at `{}`", paths::POOL)))
}

/// Before anything that changes snapshots or data: a restore that failed in the middle comes to its end first.
///
/// # Errors
/// It still cannot.
pub fn settle() -> Result<()> {
    rest::wait();
    still::recover()?;
    settle_data()?;
    let said = Handle::current().block_on(switch::recover(&switch::Watch::default(), true))?;
    said.into_iter().for_each(|said| eprintln!("agent: {said}"));
    Ok(())
}

fn settle_data() -> Result<()> {
    if !is_pending() {
        return Ok(());
    }
    let note: Box<dyn Fn(&str) + Send> = Box::new(|step| eprintln!("agent: restore: {step}"));
    let docker = Some(Handle::current().block_on(facts::docker())?);
    recover(&mut Node::new(docker, note)).map(drop).map_err(|error| {
        error.hint("an earlier restore is not complete; the agent repeats it until it succeeds, and `lap status` shows its state")
    })
}

/// Whether a restore has not come to its end.
pub fn is_pending() -> bool {
    RECORDS.iter().any(|record| !state::is_absent(&Path::new(paths::STATE).join(record)))
}

/// The containers that run, as they were made, hence in the order of what depends on what.
fn running(runtime: &Handle) -> Result<Vec<String>> {
    let facts = runtime.block_on(facts::look());
    if facts.docker.is_none() {
        return Err(Error::new(Kind::Node, "cannot list the running containers: Docker does not answer")
            .hint("`lap status` shows details"));
    }
    let mut all = facts.containers;
    all.retain(|fact| ["running", "restarting", "paused"].contains(&fact.state.as_str()));
    all.sort_by_key(|fact| fact.created);
    Ok(all.into_iter().map(|fact| fact.name).collect())
}

/// The snapshot of this name.
pub fn find(name: &str) -> Result<snapshot::Meta> {
    rest::wait();
    snapshot::find(pool_path()?, name)
}

/// Removes one; also one whose description cannot be read, if it is named.
pub fn remove(id: &str) -> Result<Answer> {
    let pool = pool_path()?;
    rest::wait();
    let damaged = snapshot::all(pool)?.1.into_iter().find(|damaged| damaged.id.to_string() == id);
    let id = damaged.map_or_else(|| find(id).map(|meta| meta.id), |damaged| Ok(damaged.id))?;
    if is_needed(&id)? {
        return Err(Error::new(Kind::Refused, format!("{id} is needed to complete an interrupted operation"))
            .hint("`lap status` shows what it waits for"));
    }
    snapshot::remove(pool, &id).map(|()| Answer::Done)
}

/// Whether what was interrupted still needs this snapshot: its record names it.
fn is_needed(id: &snapshot::Id) -> Result<bool> {
    let name = format!("\"{id}\"");
    for record in RECORDS.into_iter().chain(["switch.json"]) {
        let path = Path::new(paths::STATE).join(record);
        match fs::read_to_string(&path) {
            Ok(text) if text.contains(&name) => return Ok(true),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).or_error(Kind::Node, || format!("cannot read `{}`", path.display()));
            }
            _ => {}
        }
    }
    Ok(false)
}

/// Takes over the `state` that came with a fetched one.
pub fn adopt(id: &str) -> Result<Answer> {
    let pool = pool_path()?;
    snapshot::adopt(pool, Path::new(paths::STATE), &find(id)?.id).map(|()| Answer::Done)
}

/// Lists all; with `sizes` btrfs looks at every file of each.
pub fn list(sizes: bool) -> Result<Answer> {
    rest::wait();
    let pool = pool_path()?;
    let (all, damaged) = snapshot::all(pool)?;
    // Without a policy that can be read nothing is removed.
    let why = policy::keep().unwrap_or_default().map(|keep| decide(&all, &keep, now()));
    let one = |meta: snapshot::Meta| {
        let data = pool.join("snapshots").join(meta.id.to_string()).join("data");
        let sizes = if sizes { snapshot::volume::usage(&data).ok() } else { None };
        let because = why.as_ref().map(|why| {
            let decision = why.iter().find(|decision| decision.id == meta.id);
            decision.map(|decision| decision.because.clone()).unwrap_or_default()
        });
        ListedSnapshot { meta, sizes, because }
    };
    Ok(Answer::Snapshots { list: all.into_iter().map(one).collect(), damaged })
}

/// All that is known of one; btrfs looks at every file of it.
pub fn show(id: &str) -> Result<Answer> {
    let (pool, meta) = (pool_path()?, find(id)?);
    let all = snapshot::list(pool)?;
    let _held = snapshot::hold(pool, &meta.id)?;
    let data = snapshot::data(pool, &meta.id);
    let mut containers = BTreeMap::new();
    for entry in Dir::open(&data)?.list(&Walk::whole())? {
        let name = entry.text();
        if entry.kind() == FileType::Directory && !name.starts_with('.') {
            containers.insert(name, snapshot::volume::usage(&data.join(&entry.name))?);
        }
    }
    let decisions = policy::keep().unwrap_or_default().map(|keep| decide(&all, &keep, now()));
    let mine = |why: Vec<Decision>| why.into_iter().find(|decision| decision.id == meta.id);
    let because = decisions.map(|why| mine(why).map(|decision| decision.because).unwrap_or_default());
    let sizes = Some(snapshot::volume::usage(&data)?);
    Ok(Answer::Shown { snapshot: ListedSnapshot { meta, sizes, because }, containers })
}

/// For [`crate::wire::protocol::NodeFacts`], and what of it cannot be read.
pub fn facts() -> (SnapshotFacts, Vec<Unreadable>) {
    let (policy, since, unreadable) = policy::look();
    let mut complaints: Vec<Unreadable> = unreadable.into_iter().collect();
    let all = match pool_path().and_then(snapshot::all) {
        Ok((all, damaged)) => {
            complaints.extend(damaged.into_iter().map(|damaged| damaged.why));
            all
        }
        Err(error) => {
            complaints.push(Unreadable::new(Path::new(paths::POOL).join("snapshots"), error.message));
            Vec::new()
        }
    };
    let incomplete = all.last().map(|meta| meta.nested.complaints()).unwrap_or_default();
    let facts = SnapshotFacts { count: all.len(), newest: all.last().map(|meta| meta.at), incomplete, policy, since };
    (facts, complaints)
}

/// Whether one is due.
///
/// # Errors
/// The snapshots cannot be read.
pub fn is_due() -> Result<bool> {
    let all = snapshot::list(pool_path()?)?;
    Ok(policy::look().0.due(&all, now()).is_some_and(|due| due <= now()))
}

/// Takes the one that is due, and removes what the policy does not keep.
pub fn take_due() -> Result<Answer> {
    let taken = take("agent", Reason::Scheduled, None, None)?;
    if let Answer::Taken { complaints, .. } = &taken {
        complaints.iter().for_each(|why| eprintln!("agent: {why}"));
    }
    if policy::keep()?.is_some() { prune(false) } else { Ok(Answer::Done) }
}

/// Removes what the policy does not keep, or only says so.
pub fn prune(dry_run: bool) -> Result<Answer> {
    rest::wait();
    let pool = pool_path()?;
    let all = snapshot::list(pool)?;
    let Some(keep) = policy::keep()? else {
        return Err(Error::new(Kind::Config, "the node has no policy: it keeps all snapshots")
            .hint("write `[snapshot] keep = …` into lap.toml (`lap help lap.toml`), then run `lap up`"));
    };
    let decisions = decide(&all, &keep, now());
    for gone in decisions.iter().filter(|d| d.because.is_empty() && !dry_run) {
        if !is_needed(&gone.id)? {
            snapshot::remove(pool, &gone.id)?;
        }
    }
    Ok(Answer::Pruned { decisions })
}

/// What differs in `to` (the present, if it is not named) from `from`.
pub fn diff(from: &str, to: Option<&str>) -> Result<Answer> {
    let pool = pool_path()?;
    let data = |name: &str| -> Result<_> {
        let id = find(name)?.id.to_string();
        Ok((pool.join("snapshots").join(&id).join("data"), id))
    };
    let (old, from) = data(from)?;
    let (new, to) = to.map_or_else(|| Ok((pool.join("data"), "now".to_owned())), data)?;
    let list = snapshot::diff(pool, &old, &new)?;
    // Whatever bytes a name has, it is one line.
    let text = |path: &Path| path.to_string_lossy().escape_debug().to_string();
    Ok(Answer::Differences { from, to, list: list.iter().map(|d| (text(&d.path), d.change)).collect() })
}

/// Restores; `note` is told each step.
pub fn restore(by: &str, id: &str, part: Part, note: Box<dyn Fn(&str) + Send>) -> Result<Answer> {
    let pool = pool_path()?;
    check(&part)?;
    let id = find(id)?.id;
    let runtime = Handle::current();
    let docker = runtime.block_on(facts::docker())?;
    mounts::check(&part, &runtime.block_on(mounts::of(&docker))?)?;
    let mut node = Node::new(Some(docker.clone()), note);
    let (state, at, current) = (Path::new(paths::STATE), now(), recorded::described());
    let kept = match part {
        Part::All => Restore { pool, state, id: &id, at, by, current, release: None }.run(&mut node)?,
        Part::AllAndRelease => {
            let release = recorded_in(&find(&id.to_string())?)?;
            Restore { pool, state, id: &id, at, by, current, release }.run(&mut node)?
        }
        Part::Containers(names) => {
            let only = Only { pool, state, id: &id, paths: &names, containers: &names, at, by, current, kept: None };
            rest::later(docker, only.until_started(&mut node)?)
        }
        Part::Path(path) => {
            let only = Only { pool, state, id: &id, paths: &[path], containers: &[], at, by, current, kept: None };
            rest::later(docker, only.until_started(&mut node)?)
        }
    };
    Ok(Answer::Restored { id: id.to_string(), kept, micros: node.micros })
}

/// What is to run after a restore of this snapshot. The record that it replaces must be readable, or gone as on a node that is made anew.
fn recorded_in(meta: &snapshot::Meta) -> Result<Option<serde_json::Value>> {
    match recorded::current() {
        State::Unreadable(unreadable) if !unreadable.is_gone => return Err(Error::from(unreadable)),
        _ => {}
    }
    let Some(json) = &meta.current else { return Ok(None) };
    let parsed = serde_json::from_value::<Current>(json.clone());
    parsed
        .or_error(Kind::Refused, || format!("the snapshot {} has no record of the running release", meta.id))
        .map_err(|error| error.hint("use `--keep-release` to restore only the data, for the present containers"))?;
    Ok(Some(json.clone()))
}

/// Puts the data of these containers, none of which runs, back to a snapshot. What was there becomes the snapshot `kept`: if there is
/// one of that name already, this was done before.
///
/// # Errors
/// It could not be done; nothing has changed, or [`settle`] finishes it.
pub fn put_back(
    by: &str,
    id: &snapshot::Id,
    containers: &[String],
    kept: (snapshot::Id, Reason, String),
    current: Option<serde_json::Value>,
) -> Result<()> {
    let (pool, state) = (pool_path()?, Path::new(paths::STATE));
    let at = now();
    let meta = snapshot::Meta {
        id: kept.0.clone(),
        at,
        reason: kept.1,
        note: Some(kept.2.clone()),
        by: by.to_owned(),
        current: current.clone(),
        pause: None,
        nested: snapshot::Nested::default(),
    };
    if snapshot::complete(pool, &meta)? {
        return Ok(());
    }
    let there = |name: &&String| snapshot::data(pool, id).join(name).exists() || pool.join("data").join(name).exists();
    let paths: Vec<String> = containers.iter().filter(there).cloned().collect();
    if paths.is_empty() {
        return Ok(());
    }
    let note: Box<dyn Fn(&str) + Send> = Box::new(|_| {});
    let mut node = Node::new(Some(Handle::current().block_on(facts::docker())?), note);
    Only { pool, state, id, paths: &paths, containers: &[], at, by, current, kept: Some(kept) }.run(&mut node).map(drop)
}

/// Keeps the data as it is now under a name that was chosen before; if there is one of that name already, this was done before.
///
/// # Errors
/// The disk is full.
pub fn keep_as(by: &str, id: &snapshot::Id, reason: Reason, note: String) -> Result<()> {
    let pool = pool_path()?;
    let meta = snapshot::Meta {
        id: id.clone(),
        at: now(),
        reason,
        note: Some(note),
        by: by.to_owned(),
        current: recorded::described(),
        pause: None,
        nested: snapshot::Nested::default(),
    };
    if snapshot::complete(pool, &meta)? {
        return Ok(());
    }
    snapshot::abandon(pool, id)?;
    let taken = snapshot::take(pool, &meta, &mut still::Containers::default())?;
    taken.nested.complaints().iter().for_each(|why| eprintln!("agent: {why}"));
    Ok(())
}

/// Two names for snapshots that nobody has yet.
///
/// # Errors
/// There is no pool.
pub fn two_names() -> Result<(snapshot::Id, snapshot::Id)> {
    let pool = pool_path()?;
    let first = snapshot::free_id(pool, now());
    let mut nth = 2;
    loop {
        let second = snapshot::Id::new(now(), nth);
        if second != first && !snapshot::is_whole(pool, &second) {
            return Ok((first, second));
        }
        nth += 1;
    }
}

/// A container's directory is what it has mounted: only `--only` may replace that, because it stops the container.
fn check(part: &Part) -> Result<()> {
    let whole = |path: &str| Path::new(path).components().count() < 2;
    match part {
        Part::Path(path) if whole(path) => {
            Err(Error::new(Kind::Usage, format!("`{path}` is the whole data of a container"))
                .hint(format!("use `--only {path}` to restore it; lap stops the container for that")))
        }
        Part::Containers(names) => match names.iter().find(|name| !whole(name)) {
            Some(name) => Err(Error::new(Kind::Usage, format!("`{name}` is not a container"))
                .hint("`--file PATH` restores one file or directory")),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// At boot, before Docker: brings the data into one whole state.
///
/// # Errors
/// It cannot be brought there; the node must not start anything on it.
pub fn recover_data() -> Result<()> {
    let note: Box<dyn Fn(&str) + Send> = Box::new(|step| eprintln!("agent: restore: {step}"));
    let mut node = Node::new(None, note);
    for said in recover(&mut node)? {
        eprintln!("agent: {said}");
    }
    // What cannot be removed costs room, and is no reason to stay down.
    let swept = named().and_then(|named| snapshot::sweep(Path::new(paths::POOL), &named));
    if let Err(error) = swept.and_then(|()| into::sweep()) {
        eprintln!("agent: {error}");
    }
    Ok(())
}

/// The snapshots that records of work under way name.
fn named() -> Result<BTreeSet<snapshot::Id>> {
    let mut all = snapshot::named(Path::new(paths::STATE))?;
    all.extend(switch::named()?);
    Ok(all)
}

/// Whether [`recover_containers`] has something to do.
pub fn needs_containers() -> bool {
    is_pending() || into::is_pending() || !state::is_absent(&Path::new(paths::STATE).join("hooks.json"))
}

/// Whether the end of a restore of a part is under way: its record is no sign of an interruption.
pub fn is_busy() -> bool {
    rest::is_under_way()
}

/// Once Docker answers: starts what an interrupted restore had stopped, and lets go on what a hook had frozen. What one of these cannot do
/// does not keep the others from it. The log hears of each step with `tell`.
///
/// # Errors
/// The first that cannot be done now; call it again.
pub async fn recover_containers(tell: bool) -> Result<()> {
    if !needs_containers() {
        return Ok(());
    }
    let docker = facts::docker().await?;
    let thawed = hooks::recover(&docker).await;
    let scrubbed = if into::is_pending() { into::recover(&docker).await } else { Ok(()) };
    let recovered = tokio::task::spawn_blocking(move || {
        rest::wait();
        let note: Box<dyn Fn(&str) + Send> = Box::new(move |step| {
            if tell {
                eprintln!("agent: restore: {step}")
            }
        });
        recover(&mut Node::new(Some(docker), note))
    });
    let said = recovered.await.or_error(Kind::Other, || "the agent".into())??;
    said.iter().for_each(|said| eprintln!("agent: {said}"));
    thawed.and(scrubbed)
}

fn recover(node: &mut Node) -> Result<Vec<String>> {
    let (pool, state) = (Path::new(paths::POOL), Path::new(paths::STATE));
    let all = [snapshot::recover(pool, state, node)?, snapshot::only::recover(pool, state, node)?];
    Ok(all.into_iter().flatten().collect())
}
