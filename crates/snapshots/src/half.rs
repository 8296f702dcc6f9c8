//! Incomplete snapshots: their names, and the locks that prevent their removal.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use lap_base::error::{Kind, OrError, Result};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use super::{id::Id, meta::directory, nested, volume};
use crate::tree;

/// The prefix of the name of an incomplete snapshot.
pub(super) const HALF: &str = ".new-";

/// Locks a snapshot against removal, until the result is dropped.
///
/// # Errors
/// The snapshot does not exist.
pub fn hold(pool: &Path, id: &Id) -> Result<Flock<File>> {
    shared(&directory(pool).join(id.to_string()))
}

/// Locks an incomplete snapshot against removal, until the result is dropped.
///
/// # Errors
/// The snapshot does not exist.
pub fn hold_half(pool: &Path, id: &Id) -> Result<Flock<File>> {
    shared(&half(pool, id))
}

pub(super) fn shared(path: &Path) -> Result<Flock<File>> {
    let what = || format!("cannot lock `{}`", path.display());
    let file = File::open(path).or_error(Kind::Node, what)?;
    Flock::lock(file, FlockArg::LockShared).map_err(|(_, error)| error).or_error(Kind::Node, what)
}

/// Takes an exclusive lock. Returns `None` if another process holds a lock.
pub(super) fn alone(path: &Path) -> Result<Option<Flock<File>>> {
    let what = || format!("cannot lock `{}`", path.display());
    let file = File::open(path).or_error(Kind::Node, what)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error).or_error(Kind::Node, what),
    }
}

/// Removes an incomplete snapshot, or one whose name was removed.
///
/// # Errors
/// btrfs reports an error.
pub fn drop_half(half: &Path) -> Result<()> {
    for part in ["data", "state"] {
        let path = half.join(part);
        // The `state` of a fetched copy is a directory and not a subvolume.
        let is_there = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir());
        if is_there
            && (part == "data" || volume::number(&path).is_ok_and(|number| volume::number(half).ok() != Some(number)))
        {
            super::nested::remove::delete_all(&path)?;
        }
    }
    nested::drop_kept(half)?;
    tree::remove(half)
}

/// Returns the path of a snapshot until it is complete.
pub fn half(pool: &Path, id: &Id) -> PathBuf {
    directory(pool).join(format!("{HALF}{id}"))
}
