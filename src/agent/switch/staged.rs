//! What lies ready beside its place, and changes places with what is there: names for the DNS server, secrets of containers.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{
    agent::paths,
    error::{Kind, OrError, Result},
    release::Staged,
    snapshot::exchange,
};

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
pub fn look(all: &[Staged]) -> Result<Vec<u64>> {
    let inode = |staged| {
        let (ready, _) = paths_of(staged);
        fs::metadata(&ready)
            .map(|meta| meta.ino())
            .or_error(Kind::Refused, || format!("`{}` was not brought", ready.display()))
    };
    all.iter().map(inode).collect()
}

/// Puts all in place (`back`: as it was); what is done already stays done.
///
/// # Errors
/// A name cannot be exchanged.
pub fn put(all: &[Staged], inodes: &[u64], back: bool) -> Result<()> {
    for (staged, new) in all.iter().zip(inodes) {
        let (ready, place) = paths_of(staged);
        if (inode(&place) == Some(*new)) != back {
            continue;
        }
        match (inode(&ready), inode(&place)) {
            (Some(_), Some(_)) => exchange(&ready, &place)?,
            (Some(_), None) => rename(&ready, &place)?,
            // It was put where nothing had been.
            (None, Some(_)) => rename(&place, &ready)?,
            (None, None) => {}
        }
    }
    Ok(())
}

/// Removes what was left over.
pub fn clear() {
    let _ = fs::remove_dir_all(paths::STAGED);
}

fn inode(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().map(|meta| meta.ino())
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    let what = || format!("cannot move `{}`", from.display());
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).or_error(Kind::Node, what)?;
    }
    fs::rename(from, to).or_error(Kind::Node, what)
}
