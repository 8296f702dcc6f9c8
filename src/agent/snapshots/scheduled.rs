//! What the agent does by itself: snapshots that are due, and those that the policy does not keep.

use lap_base::{
    clock::now,
    error::{Error, Kind, Result},
};
use lap_snapshots as snapshot;
use lap_snapshots::{Reason, keep::decide, order::Moment};

use super::{policy, records::is_needed, rest, take::take};
use crate::{agent::pool::path, wire::protocol::Response};

/// Whether one is due.
///
/// # Errors
/// The snapshots cannot be read.
pub fn is_due() -> Result<bool> {
    let all = snapshot::list(path()?)?;
    Ok(policy::current().0.due(&all, now()).is_some_and(|due| due <= now()))
}

/// Writes down for how long the agent has run: by that snapshots grow old, and not by the clock.
///
/// # Errors
/// The disk is full.
pub fn count_time() -> Result<()> {
    snapshot::order::count_time(path()?)
}

/// Takes the one that is due, and removes what the policy does not keep.
pub fn take_due() -> Result<Response> {
    let taken = take("agent", Reason::Scheduled, None, None)?;
    if let Response::Taken { complaints, .. } = &taken {
        complaints.iter().for_each(|why| eprintln!("agent: {why}"));
    }
    if policy::keep()?.is_some() { prune(false) } else { Ok(Response::Done) }
}

/// Removes what the policy does not keep, or only says so.
pub fn prune(dry_run: bool) -> Result<Response> {
    rest::wait();
    let pool = path()?;
    let all = snapshot::list(pool)?;
    let Some(keep) = policy::keep()? else {
        return Err(Error::new(Kind::Config, "the node has no policy: it keeps all snapshots")
            .hint("write `[snapshot] keep = …` into lap.toml (`lap help lap.toml`), then run `lap up`"));
    };
    let decisions = decide(&all, &keep, &Moment::of(pool, now()));
    for gone in decisions.iter().filter(|d| d.because.is_empty() && !dry_run) {
        if !is_needed(&gone.id)? {
            snapshot::remove(pool, &gone.id)?;
        }
    }
    Ok(Response::Pruned { decisions })
}
