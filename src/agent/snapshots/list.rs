//! The snapshots of the node, as they are listed, shown, compared and removed.

use std::{collections::BTreeMap, path::Path};

use lap_base::{
    beneath::{Dir, Walk},
    clock::now,
    error::{Error, Kind, Result},
    state::Unreadable,
};
use lap_snapshots as snapshot;
use lap_snapshots::{
    keep::{RetentionDecision, decide},
    order::{Moment, is_ahead},
};
use rustix::fs::FileType;

use super::{policy, records::is_needed, rest};
use crate::{
    agent::{pool::path, system::node_config::status},
    wire::{
        paths,
        protocol::{ListedSnapshot, Response, SnapshotFacts},
    },
};

/// The snapshot of this name.
pub fn find(name: &str) -> Result<snapshot::Meta> {
    rest::wait();
    snapshot::find(path()?, name)
}

/// Removes one; also one whose description cannot be read, if it is named.
pub fn remove(id: &str) -> Result<Response> {
    let pool = path()?;
    rest::wait();
    let damaged = snapshot::all(pool)?.1.into_iter().find(|damaged| damaged.id.to_string() == id);
    let id = damaged.map_or_else(|| find(id).map(|meta| meta.id), |damaged| Ok(damaged.id))?;
    if is_needed(&id)? {
        return Err(Error::new(Kind::Refused, format!("{id} is needed to complete an interrupted operation"))
            .hint(format!("`{}` shows what it waits for", status())));
    }
    snapshot::remove(pool, &id).map(|()| Response::Done)
}

/// Takes over the `state` that came with a fetched one.
pub fn adopt(id: &str) -> Result<Response> {
    let pool = path()?;
    snapshot::adopt(pool, Path::new(paths::STATE), &find(id)?.id).map(|()| Response::Done)
}

/// Lists all; with `sizes` btrfs looks at every file of each.
pub fn list(sizes: bool) -> Result<Response> {
    rest::wait();
    let pool = path()?;
    let (all, damaged) = snapshot::all(pool)?;
    let moment = Moment::of(pool, now());
    // Without a policy that can be read nothing is removed.
    let why = policy::keep().unwrap_or_default().map(|keep| decide(&all, &keep, &moment));
    let one = |meta: snapshot::Meta| {
        let data = pool.join("snapshots").join(meta.id.to_string()).join("data");
        let sizes = if sizes { snapshot::volume::usage(&data).ok() } else { None };
        let because = why.as_ref().map(|why| {
            let decision = why.iter().find(|decision| decision.id == meta.id);
            decision.map(|decision| decision.because.clone()).unwrap_or_default()
        });
        let ahead = is_ahead(meta.at, moment.at);
        ListedSnapshot { meta, sizes, because, ahead }
    };
    Ok(Response::Snapshots { list: all.into_iter().map(one).collect(), damaged })
}

/// All that is known of one; btrfs looks at every file of it.
pub fn show(id: &str) -> Result<Response> {
    let (pool, meta) = (path()?, find(id)?);
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
    let moment = Moment::of(pool, now());
    let decisions = policy::keep().unwrap_or_default().map(|keep| decide(&all, &keep, &moment));
    let mine = |why: Vec<RetentionDecision>| why.into_iter().find(|decision| decision.id == meta.id);
    let because = decisions.map(|why| mine(why).map(|decision| decision.because).unwrap_or_default());
    let sizes = Some(snapshot::volume::usage(&data)?);
    let ahead = is_ahead(meta.at, moment.at);
    Ok(Response::Shown { snapshot: ListedSnapshot { meta, sizes, because, ahead }, containers })
}

/// For [`crate::wire::protocol::NodeFacts`], and what of it cannot be read.
pub fn facts() -> (SnapshotFacts, Vec<Unreadable>) {
    let (policy, since, unreadable) = policy::current();
    let mut complaints: Vec<Unreadable> = unreadable.into_iter().collect();
    let all = match path().and_then(snapshot::all) {
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
    let now = now();
    let ahead = all.iter().filter(|meta| is_ahead(meta.at, now)).map(|meta| meta.id.clone()).collect();
    let newest = all.last().map(|meta| meta.at);
    let facts = SnapshotFacts { count: all.len(), newest, incomplete, policy, since, ahead };
    (facts, complaints)
}

/// What differs in `to` (the present, if it is not named) from `from`.
pub fn diff(from: &str, to: Option<&str>) -> Result<Response> {
    let pool = path()?;
    let data = |name: &str| -> Result<_> {
        let id = find(name)?.id.to_string();
        Ok((pool.join("snapshots").join(&id).join("data"), id))
    };
    let (old, from) = data(from)?;
    let (new, to) = to.map_or_else(|| Ok((pool.join("data"), "now".to_owned())), data)?;
    let list = snapshot::diff(pool, &old, &new)?;
    // Whatever bytes a name has, it is one line.
    let text = |path: &Path| path.to_string_lossy().escape_debug().to_string();
    Ok(Response::Differences { from, to, list: list.iter().map(|d| (text(&d.path), d.change)).collect() })
}
