//! Snapshots that are not whole yet: their names, and the locks that keep others from removing them.

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

/// What a half-taken snapshot is called.
pub(super) const HALF: &str = ".new-";

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

pub(super) fn shared(path: &Path) -> Result<Flock<File>> {
    let what = || format!("cannot lock `{}`", path.display());
    let file = File::open(path).or_error(Kind::Node, what)?;
    Flock::lock(file, FlockArg::LockShared).map_err(|(_, error)| error).or_error(Kind::Node, what)
}

/// `None`: somebody holds it.
pub(super) fn alone(path: &Path) -> Result<Option<Flock<File>>> {
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
            super::nested::remove::delete_all(&path)?;
        }
    }
    nested::drop_kept(half)?;
    tree::remove(half)
}

/// Where a snapshot is while it is being made.
pub fn half(pool: &Path, id: &Id) -> PathBuf {
    directory(pool).join(format!("{HALF}{id}"))
}
