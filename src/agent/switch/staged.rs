//! What lies ready beside its place, and changes places with what is there: names for the DNS server, secrets of containers.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use lap_base::{
    durable,
    error::{Kind, OrError, Result},
};

use crate::{release::Staged, wire::paths};

/// Where it lies ready, and where it belongs.
fn paths_of(staged: &Staged) -> (PathBuf, PathBuf) {
    match staged {
        Staged::Secrets(container) => {
            (Path::new(paths::STAGED).join(format!("secrets.{container}")), Path::new(paths::SECRETS).join(container))
        }
        // The file, since the server has the directory mounted.
        Staged::Names => {
            (Path::new(paths::STAGED).join("names/names.json"), Path::new(paths::NAMES).join("names.json"))
        }
    }
}

/// The inode of each as it lies ready.
///
/// # Errors
/// One is not there.
pub fn inodes(all: &[Staged]) -> Result<Vec<u64>> {
    let inode = |staged| {
        let (ready, _) = paths_of(staged);
        fs::metadata(&ready)
            .map(|meta| meta.ino())
            .or_error(Kind::Refused, || format!("`{}` was not transferred", ready.display()))
    };
    all.iter().map(inode).collect()
}

/// Puts all in place (`back`: as it was); what is done already stays done. All of it is on the disk when this returns, also what was done
/// before.
///
/// # Errors
/// A name cannot be exchanged.
pub fn put(all: &[Staged], inodes: &[u64], back: bool) -> Result<()> {
    for (staged, new) in all.iter().zip(inodes) {
        let (ready, place) = paths_of(staged);
        put_one(&ready, &place, *new, back).or_error(Kind::Node, || format!("cannot move `{}`", ready.display()))?;
    }
    Ok(())
}

/// A file system gives an inode's number anew only when the file is gone, and what lay ready was on the disk before the switch began. So
/// the number tells the two apart after a power cut, too.
fn put_one(ready: &Path, place: &Path, new: u64, back: bool) -> io::Result<()> {
    let (lies_ready, is_in_place) = (inode(ready)?, inode(place)?);
    if (is_in_place == Some(new)) == back {
        match (lies_ready, is_in_place) {
            (Some(_), Some(_)) => durable::swap(ready, place)?,
            (Some(_), None) => rename(ready, place)?,
            // It was put where nothing had been.
            (None, Some(_)) => rename(place, ready)?,
            (None, None) => {}
        }
    }
    // A directory that is not there has no names to lose.
    for directory in [ready, place].into_iter().filter_map(Path::parent).filter(|directory| directory.exists()) {
        durable::sync(directory)?;
    }
    Ok(())
}

/// Removes what was left over.
pub fn clear() {
    let _ = fs::remove_dir_all(paths::STAGED);
}

/// `None`: it is not there. What cannot be looked at is an error: the wrong side of the exchange would be taken for the right one.
fn inode(path: &Path) -> io::Result<Option<u64>> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    to.parent().map_or(Ok(()), durable::create_dir_all)?;
    fs::rename(from, to)
}

#[cfg(test)]
mod tests;
