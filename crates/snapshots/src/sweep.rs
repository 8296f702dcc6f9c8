//! Removes snapshots, and the remains of incomplete ones.

use std::{collections::BTreeSet, fs, path::Path};

use lap_base::{
    durable,
    error::{Error, Kind, OrError, Result},
    state,
};

use super::{
    half::{HALF, alone, drop_half, half},
    id::Id,
    meta::directory,
    plain,
};

/// Removes a snapshot: first its name, so that it is no longer listed, and then its data. The removal of the name is
/// synchronized before the data is removed. So after a power cut, a snapshot is either complete or not listed, and a
/// removed one does not return.
///
/// # Errors
/// The snapshot does not exist, or btrfs reports an error.
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
    let renamed = fs::rename(&whole, &half).and_then(|()| durable::sync_names(&whole, &half));
    renamed.or_error(Kind::Node, || format!("cannot rename `{}`", whole.display()))?;
    plain::forget(pool, id);
    drop_half(&half)
}

/// Removes an incomplete snapshot of a killed process. Returns `false` if another process still writes it.
///
/// # Errors
/// btrfs reports an error.
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

/// Removes incomplete snapshots and incomplete removals. A snapshot with a name is kept, even if its description is
/// unreadable. An incomplete snapshot that is in `named` is kept too, because it may be the only copy of the data.
///
/// # Errors
/// A snapshot cannot be removed.
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
