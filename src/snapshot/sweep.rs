//! Removes snapshots, and what was left of those that were never whole.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use super::{Id, meta::directory, nested, plain, take::half, tree, volume};
use crate::{
    error::{Error, Kind, OrError, Result},
    state,
};

/// What a half-taken snapshot is called.
pub(super) const HALF: &str = ".new-";

/// Removes a snapshot: first its name, so that it is listed no more, then its data.
///
/// # Errors
/// There is none of this name, or btrfs refuses.
pub fn remove(pool: &Path, id: &Id) -> Result<()> {
    let whole = directory(pool).join(id.to_string());
    if !whole.exists() {
        return Err(
            Error::new(Kind::Usage, format!("there is no snapshot `{id}`")).hint("`lap snapshot list` shows them")
        );
    }
    let Some(_mine) = alone(&whole)? else {
        return Err(Error::new(Kind::Locked, format!("the snapshot `{id}` is being copied")).hint("try again later"));
    };
    let half = half(pool, id);
    fs::rename(&whole, &half).or_error(Kind::Node, || format!("cannot rename `{}`", whole.display()))?;
    plain::forget(pool, id);
    drop_half(&half)
}

/// Keeps a snapshot from being removed, as long as what is returned lives.
///
/// # Errors
/// It is gone.
pub fn hold(pool: &Path, id: &Id) -> Result<Flock<File>> {
    shared(&directory(pool).join(id.to_string()))
}

/// The same for one that is being made.
///
/// # Errors
/// It is gone.
pub fn hold_half(pool: &Path, id: &Id) -> Result<Flock<File>> {
    shared(&half(pool, id))
}

/// Removes what a killed process left of a snapshot that it was making; `false`: another process still writes there.
///
/// # Errors
/// btrfs refuses.
pub fn abandon(pool: &Path, id: &Id) -> Result<bool> {
    let half = half(pool, id);
    if !half.exists() {
        return Ok(true);
    }
    match alone(&half)? {
        Some(_mine) => drop_half(&half).map(|()| true),
        None => Ok(false),
    }
}

fn shared(path: &Path) -> Result<Flock<File>> {
    let what = || format!("cannot lock `{}`", path.display());
    let file = File::open(path).or_error(Kind::Node, what)?;
    Flock::lock(file, FlockArg::LockShared).map_err(|(_, error)| error).or_error(Kind::Node, what)
}

/// `None`: somebody holds it.
fn alone(path: &Path) -> Result<Option<Flock<File>>> {
    let what = || format!("cannot lock `{}`", path.display());
    let file = File::open(path).or_error(Kind::Node, what)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error).or_error(Kind::Node, what),
    }
}

/// Removes a snapshot that has no name, or no longer.
///
/// # Errors
/// btrfs refuses.
pub fn drop_half(half: &Path) -> Result<()> {
    for part in ["data", "state"] {
        let path = half.join(part);
        // What a copy brought of `state` is a directory.
        let is_there = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir());
        if is_there
            && (part == "data" || volume::number(&path).is_ok_and(|number| volume::number(half).ok() != Some(number)))
        {
            volume::delete_all(&path)?;
        }
    }
    nested::drop_kept(half)?;
    tree::remove(half)
}

/// Removes what was left in the middle: snapshots half taken or half removed. What has a name stays, also where its description cannot
/// be read; so does what a record of work under way names: it may be the only copy of what was there.
///
/// # Errors
/// Something cannot be removed.
pub fn sweep(pool: &Path, named: &BTreeSet<Id>) -> Result<()> {
    let directory = directory(pool);
    for name in state::names(&directory).value_or_refuse()?.unwrap_or_default() {
        let Some(rest) = name.strip_prefix(HALF) else { continue };
        if rest.parse().is_ok_and(|id: Id| named.contains(&id)) {
            continue;
        }
        drop_half(&directory.join(&name))?;
    }
    plain::sweep(pool);
    Ok(())
}
