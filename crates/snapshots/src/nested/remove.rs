//! Removes subvolumes with those in them.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use lap_base::{
    beneath::dir::Dir,
    error::{Error, Kind, OrError, Result},
};

use super::{find::all, list::BESIDE};
use crate::{
    btrfs,
    filesystem::is_btrfs,
    subvolume::{is_subvolume, path_of, root, split, subvolume_at, walk_to},
    tree,
    volume::delete,
};

/// What a subvolume is called that is being deleted.
const GONE: &str = ".lap-gone";

/// Removes all that lie in the subvolume at `path`, which no container sees.
///
/// # Errors
/// btrfs refuses.
pub fn remove_inside(path: &Path) -> Result<()> {
    drop_gone(&own(path)?)?;
    let inside = all(path, usize::MAX)?.paths;
    if inside.is_empty() {
        return Ok(());
    }
    // Nothing can be taken out of one that is read-only.
    btrfs::set_writable(path)?;
    remove(path, &inside)
}

/// Removes all that lie in the directory `below` of the data, which is lap's own. Nothing happens where the pool has no subvolumes.
///
/// # Errors
/// btrfs refuses.
pub fn clear(data: &Path, below: &str) -> Result<()> {
    if !is_btrfs(data)? || !data.join(below).exists() {
        return Ok(());
    }
    // What an agent left that was killed.
    drop_gone(&own(data)?)?;
    let inside: Vec<PathBuf> =
        all(data, usize::MAX)?.paths.into_iter().filter(|path| path.starts_with(below)).collect();
    remove(data, &inside)
}

/// `inside`: parents before children. btrfs(8) takes paths, and a container that still has the directory open may put a link to any
/// other subvolume in the place of one. So each is first moved, by its open directory, to where lap alone changes names.
fn remove(path: &Path, inside: &[PathBuf]) -> Result<()> {
    let (open, own) = (root(path)?, own(path)?);
    for (n, one) in inside.iter().enumerate().rev() {
        let (above, name) = split(one)?;
        if let Some(around) = inside[..n].iter().rev().find(|around| one.starts_with(around)) {
            btrfs::set_writable(&path_of(&walk_to(&open, around)?))?;
        }
        let above = walk_to(&open, above)?;
        // One that is read-only cannot be moved.
        if above.rename(name, &own, GONE.as_ref()).is_err() {
            btrfs::set_writable(&path_of(&walk_to(&above, Path::new(name))?))?;
            above.rename(name, &own, GONE.as_ref())?;
        }
        drop_gone(&own)?;
    }
    Ok(())
}

/// The directory that holds the subvolume at `path`.
fn own(path: &Path) -> Result<Dir> {
    root(path.parent().unwrap_or(path))
}

/// Deletes what was moved there.
fn drop_gone(own: &Dir) -> Result<()> {
    let Some(gone) = own.dir(Path::new(GONE))? else { return Ok(()) };
    if is_subvolume(&gone) {
        return btrfs::delete(&own.path().join(GONE));
    }
    // Something else had the name of the subvolume by then.
    own.remove(GONE.as_ref())
}

/// Removes those that a snapshot holds beside its data.
///
/// # Errors
/// btrfs refuses.
pub fn drop_kept(snapshot: &Path) -> Result<()> {
    let place = snapshot.join(BESIDE);
    let what = || format!("cannot remove `{}`", place.display());
    let entries = match fs::read_dir(&place) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        // What an archive brought under that name.
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return fs::remove_file(&place).or_error(Kind::Node, what);
        }
        entries => entries.or_error(Kind::Node, what)?,
    };
    for entry in entries {
        let path = entry.or_error(Kind::Node, what)?.path();
        if subvolume_at(&path) {
            remove_inside(&path)?;
            btrfs::delete(&path)?;
        }
    }
    tree::remove(&place).map_err(|error| Error::new(Kind::Node, format!("{}: {}", what(), error.message)))
}

/// Deletes one, and all that containers made inside it.
///
/// # Errors
/// As [`delete`].
pub fn delete_all(path: &Path) -> Result<()> {
    if is_btrfs(path)? {
        remove_inside(path)?;
    }
    delete(path)
}
