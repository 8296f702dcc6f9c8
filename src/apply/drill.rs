//! `lap recover --drill`: whether an environment comes back from its newest copy, tried in a lab of its own that is gone afterwards.

mod alone;

use std::{sync::Arc, time::Instant};

use lap_base::{
    clock::now,
    error::{Error, Kind, Result},
    words::plural,
};
use lap_repositories::{
    Copy,
    policy::{Drilled, News},
};
use serde::Serialize;
use tokio::sync::watch;

use self::alone::Alone;
use super::{
    check::check,
    down::destroy,
    options::{Options, Scope},
    recover::{can_start, restore, running},
    repository::{LabRepositories, progress::aside},
    snapshot::Snapshots,
    up::up,
};
use crate::{
    config::model::{Address, Environment, Lab, Provider},
    wire::protocol::CheckResult,
    workspace::Workspace,
};

/// What the lab that is made for it is called beside the real one.
const SUFFIX: &str = "-drill";
/// A name is a DNS label.
const LONGEST: usize = 63;

/// How it went.
#[derive(Debug, Serialize)]
pub struct DrillResult {
    #[serde(flatten)]
    pub drilled: Drilled,
    pub checks: Vec<CheckResult>,
}

/// Tries `copy` of `environment`; the environment itself is not touched.
///
/// # Errors
/// Another drill of this lab runs, a lab has the name that this one would have, it was stopped, or what was made for it cannot be removed.
/// A copy that does not come back is no error: it is in the result.
pub async fn drill(
    workspace: &Arc<Workspace>,
    environment: &Environment,
    place: &LabRepositories,
    copy: &Copy,
    options: &Options,
) -> Result<DrillResult> {
    let mut alone = Alone::take(&workspace.lab.root)?;
    let (at, begun) = (now(), Instant::now());
    let lab = Arc::new(Workspace { lab: beside(&workspace.lab), cache: workspace.cache.clone() });
    if let Some(left) = alone.left()?.and_then(|name| lab.lab.environments.get(&name)) {
        destroy(lab.clone(), left, options).await?;
    }
    free(&lab, environment).await?;
    alone.begin(&environment.name)?;
    let ended = bring_up(&lab, environment, place, copy, options).await;
    let seconds = begun.elapsed().as_secs_f64();
    // Also when it was stopped.
    let (_going, stop) = watch::channel(false);
    let cleaning = Options { stop, ..options.clone() };
    destroy(lab.clone(), environment, &cleaning).await.map_err(|error| {
        error.hint(format!("`lap --lab {} destroy {}` removes what the drill made", lab.lab.name, environment.name))
    })?;
    alone.end()?;
    let (failed, checks) = match ended {
        Err(error) if error.kind == Kind::Interrupted => return Err(error),
        Err(error) => (Some(error.message), Vec::new()),
        Ok(checks) => (failure(&checks), checks),
    };
    let drilled = Drilled { at, id: copy.id.clone(), seconds, lost: (at - copy.at).max(0), failed };
    match Snapshots::of(workspace.clone(), environment).await {
        Ok(real) => real.note(place, News::Drilled(drilled.clone()), options).await,
        Err(error) => options.events.note(format!("  `lap status` will not show it: {error}")),
    }
    Ok(DrillResult { drilled, checks })
}

/// Another lab may be called like the one that the drill makes: its nodes are no leftovers.
async fn free(lab: &Workspace, environment: &Environment) -> Result<()> {
    let found = running::find(lab, &[environment], true).await?;
    if found.is_empty() {
        return Ok(());
    }
    let (name, of) = (&lab.lab.name, &environment.name);
    let message = format!(
        "a drill needs the lab name `{name}`, and a lab with this name exists that no drill of this workspace made: {}",
        found.join(", ")
    );
    Err(Error::new(Kind::Refused, message).hint(format!("`lap --lab {name} destroy {of}` removes it with its data")))
}

/// The copy that is meant; `latest` is the newest.
///
/// # Errors
/// There is none.
pub async fn copy_of(place: &LabRepositories, environment: &Environment, id: &str) -> Result<Copy> {
    let (place, name, id) = (place.clone(), environment.name.clone(), id.to_owned());
    aside(move || place.find(&name, &id)).await
}

/// The nodes, the data, the containers, and what their checks say.
async fn bring_up(
    lab: &Arc<Workspace>,
    environment: &Environment,
    place: &LabRepositories,
    copy: &Copy,
    options: &Options,
) -> Result<Vec<CheckResult>> {
    up(lab.clone(), environment, Scope { nodes_only: true, ..Scope::default() }, options).await?;
    let snapshots = Snapshots::of(lab.clone(), environment).await?;
    let id = copy.id.to_string();
    snapshots.fetch(&id, place, options).await?;
    let facts = snapshots.facts(options).await?;
    let listed = snapshots.list(false).await?.into_iter().find(|listed| listed.meta.id == copy.id);
    let meta = listed.ok_or_else(|| Error::new(Kind::Node, format!("the snapshot {id} was removed")))?.meta;
    // As `lap recover` does: without their images or files the containers are built from the workspace.
    let as_recorded = can_start(lab, environment, &meta, &facts)?;
    restore(&snapshots, &id, as_recorded, options).await?;
    up(lab.clone(), environment, Scope { as_recorded, made_anew: true, ..Scope::default() }, options).await?;
    check(lab.clone(), environment, &[], options).await
}

fn failure(checks: &[CheckResult]) -> Option<String> {
    let failed: Vec<String> =
        checks.iter().filter(|c| !c.ok).map(|c| format!("`{}` of `{}`", c.check, c.container)).collect();
    let of = || plural(checks.len(), "check");
    (!failed.is_empty()).then(|| format!("{} of {} failed: {}", failed.len(), of(), failed.join(", ")))
}

/// The same lab once more on this machine: with a name and a network of its own, reachable from nowhere else, and telling nobody of
/// itself.
fn beside(lab: &Lab) -> Lab {
    let mut lab = lab.clone();
    lab.name.truncate(LONGEST - SUFFIX.len());
    lab.name.push_str(SUFFIX);
    lab.subnet = None;
    for node in lab.nodes.values_mut() {
        // Whatever it is else: a machine that exists is nothing to be made and removed again.
        node.provider = Provider::Docker;
        node.ssh = None;
        node.publish = None;
        // Of another network.
        if matches!(node.address, Some(Address::Full(_))) {
            node.address = None;
        }
    }
    lab.dns.secondaries.clear();
    lab.snapshot = None;
    lab
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lab_beside_meets_the_real_one_nowhere() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut lab = crate::config::load(root, Some(&"x".repeat(63))).unwrap();
        lab.subnet = crate::config::value::address::subnet("192.168.0.0/24").ok();
        for node in lab.nodes.values_mut() {
            node.address = Some(Address::Full([192, 168, 0, 10].into()));
            node.publish = Some([192, 168, 7, 2].into());
            node.provider = Provider::Ssh;
        }
        lab.dns.secondaries = vec!["192.168.0.9:53".parse().unwrap()];
        let beside = beside(&lab);
        assert_eq!(beside.name, format!("{}-drill", "x".repeat(57)));
        assert!(beside.subnet.is_none() && beside.dns.secondaries.is_empty());
        assert!(beside.nodes.values().all(|node| node.address.is_none() && node.publish.is_none()));
        assert!(beside.nodes.values().all(|node| node.provider == Provider::Docker && node.ssh.is_none()));
        assert_eq!(beside.containers.len(), lab.containers.len());
    }
}
