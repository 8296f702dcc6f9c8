//! Puts a snapshot, or a part of it, in the place of the present.

use std::path::Path;

use bollard::Docker;
use lap_base::{
    clock::now,
    error::{Error, Kind, OrError, Result},
    state::State,
};
use lap_snapshots as snapshot;
use lap_snapshots::{Reason, Restore, only::Only};
use tokio::runtime::Handle;

use super::{list::find, node::NodeWorld, rest};
use crate::{
    agent::{
        docker::{self, mounts},
        pool::{path, reserve},
        recorded,
    },
    release::manifest::ReleaseManifest,
    wire::{
        paths,
        protocol::{Response, RestorePart},
    },
};

/// Restores; `note` is told each step.
pub fn restore(by: &str, id: &str, part: RestorePart, note: Box<dyn Fn(&str) + Send>) -> Result<Response> {
    let _room = reserve::open();
    let pool = path()?;
    check(&part)?;
    let id = find(id)?.id;
    let runtime = Handle::current();
    let docker = runtime.block_on(docker::connect())?;
    mounts::check(&part, &runtime.block_on(mounts::of(&docker))?)?;
    let mut node = NodeWorld::new(Some(docker.clone()), note);
    let (state, at, current) = (Path::new(paths::STATE), now(), recorded::described());
    let kept = match part {
        RestorePart::All => Restore { pool, state, id: &id, at, by, current, release: None }.run(&mut node)?,
        RestorePart::AllAndRelease => {
            let release = recorded_in(&find(&id.to_string())?)?;
            Restore { pool, state, id: &id, at, by, current, release }.run(&mut node)?
        }
        RestorePart::Containers(names) => {
            let only = Only { pool, state, id: &id, paths: &names, containers: &names, at, by, current, kept: None };
            rest::later(docker, only.until_started(&mut node)?)
        }
        RestorePart::Path(path) => {
            let only = Only { pool, state, id: &id, paths: &[path], containers: &[], at, by, current, kept: None };
            rest::later(docker, only.until_started(&mut node)?)
        }
    };
    Ok(Response::Restored { id: id.to_string(), kept, micros: node.micros })
}

/// What is to run after a restore of this snapshot. The record that it replaces must be readable, or gone as on a node that is made anew.
fn recorded_in(meta: &snapshot::Meta) -> Result<Option<serde_json::Value>> {
    match recorded::current() {
        State::Unreadable(unreadable) if !unreadable.is_gone => return Err(Error::from(unreadable)),
        _ => {}
    }
    let Some(json) = &meta.current else { return Ok(None) };
    let parsed = serde_json::from_value::<ReleaseManifest>(json.clone());
    parsed
        .or_error(Kind::Refused, || format!("the snapshot {} has no record of the running release", meta.id))
        .map_err(|error| error.hint("use `--keep-release` to restore only the data, for the present containers"))?;
    Ok(Some(json.clone()))
}

/// Puts the data of these containers, none of which runs, back to a snapshot. What was there becomes the snapshot `kept`: if there is
/// one of that name already, this was done before.
///
/// # Errors
/// It could not be done; nothing has changed, or [`recover`] finishes it.
pub fn put_back(
    by: &str,
    id: &snapshot::Id,
    containers: &[String],
    kept: (snapshot::Id, Reason, String),
    current: Option<serde_json::Value>,
) -> Result<()> {
    let _room = reserve::open();
    let (pool, state) = (path()?, Path::new(paths::STATE));
    let at = now();
    let order = Some(snapshot::order::again(pool, &kept.0)?);
    let meta = snapshot::Meta {
        id: kept.0.clone(),
        at,
        reason: kept.1,
        note: Some(kept.2.clone()),
        by: by.to_owned(),
        current: current.clone(),
        pause: None,
        order,
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
    let mut node = NodeWorld::new(Some(Handle::current().block_on(docker::connect())?), note);
    Only { pool, state, id, paths: &paths, containers: &[], at, by, current, kept: Some(kept) }.run(&mut node).map(drop)
}

/// A container's directory is what it has mounted: only `--only` may replace that, because it stops the container.
fn check(part: &RestorePart) -> Result<()> {
    let whole = |path: &str| Path::new(path).components().count() < 2;
    match part {
        RestorePart::Path(path) if whole(path) => {
            Err(Error::new(Kind::Usage, format!("`{path}` is the whole data of a container"))
                .hint(format!("use `--only {path}` to restore it; lap stops the container for that")))
        }
        RestorePart::Containers(names) => match names.iter().find(|name| !whole(name)) {
            Some(name) => Err(Error::new(Kind::Usage, format!("`{name}` is not a container"))
                .hint("`--file PATH` restores one file or directory")),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Brings a restore that was interrupted to its end, with Docker or, at the start of the node, without. Says what it finished; `step` hears
/// of each step.
///
/// # Errors
/// It cannot be done now: call it again.
pub fn recover(docker: Option<Docker>, step: Box<dyn Fn(&str) + Send>) -> Result<Vec<String>> {
    rest::wait();
    let _room = reserve::open();
    let node = &mut NodeWorld::new(docker, step);
    let (pool, state) = (Path::new(paths::POOL), Path::new(paths::STATE));
    let all = [snapshot::recover(pool, state, node)?, snapshot::only::recover(pool, state, node)?];
    Ok(all.into_iter().flatten().collect())
}
