//! Looks at everything, has [`crate::prune`] decide, and does it.

use std::path::Path;

use lap_base::{
    clock::now,
    error::{Error, Kind, Result},
};
use lap_snapshots::order::Moment;

use super::{
    act::{self, OnStep},
    inventory,
};
use crate::{
    agent::{checks, docker, system::blocking::run_blocking},
    prune::decide,
    wire::{
        paths,
        prune::{PruneDecision, PruneRules},
    },
};

/// Decides and does it. The caller holds the lock and has brought what was interrupted to its end.
///
/// # Errors
/// Docker does not answer, or something cannot be read that must be known.
pub async fn run(rules: &PruneRules, tell: &OnStep) -> Result<Vec<PruneDecision>> {
    tell("list what exists");
    let decisions = look_and_decide(rules).await?;
    act::act(decisions, rules, tell).await
}

/// Decides and changes nothing.
///
/// # Errors
/// As [`run`].
pub async fn look_and_decide(rules: &PruneRules) -> Result<Vec<PruneDecision>> {
    let docker = docker::connect().await?;
    // While checks run, their containers are theirs.
    let idle = checks::idle();
    let found = inventory::take_inventory(&docker, idle.is_some()).await?;
    if found.current.is_none() {
        return Err(Error::new(
            Kind::Refused,
            "nothing can be removed, because the node has no record of what should run",
        )
        .hint("`lap up` records it"));
    }
    let moment = run_blocking(|| Ok(Moment::of(Path::new(paths::POOL), now()))).await?;
    Ok(decide(&found, rules, &moment))
}
