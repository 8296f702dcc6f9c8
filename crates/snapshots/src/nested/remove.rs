//! Removes subvolumes with the subvolumes inside them.

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

/// The name of a subvolume while it is deleted.
const BEING_DELETED: &str = ".lap-gone";

/// Removes all subvolumes inside the one at `path`, to which no container has access.
///
/// # Errors
/// btrfs reports an error.
pub fn remove_inside(path: &Path) -> Result<()> {
    drop_gone(&own(path)?)?;
    let inside = all(path, usize::MAX)?.paths;
    if inside.is_empty() {
        return Ok(());
    }
    // Nothing can be removed from a read-only subvolume.
    btrfs::set_writable(path)?;
    remove(path, &inside)
}

/// Removes all subvolumes in the directory `below` of the data, which belongs to lap. Does nothing if the pool has no
/// subvolumes.
///
/// # Errors
/// btrfs reports an error.
pub fn clear(data: &Path, below: &str) -> Result<()> {
    if !is_btrfs(data)? || !data.join(below).exists() {
        return Ok(());
    }
    // A killed agent may have left this directory.
    drop_gone(&own(data)?)?;
    let inside: Vec<PathBuf> =
        all(data, usize::MAX)?.paths.into_iter().filter(|path| path.starts_with(below)).collect();
    remove(data, &inside)
}

/// Removes the subvolumes `inside`, in which parents come before children. btrfs(8) takes paths, and a container with
/// an open directory could replace a subvolume by a link to another one. So each subvolume is first moved, through its
/// open directory, to a directory in which only lap changes names.
fn remove(path: &Path, inside: &[PathBuf]) -> Result<()> {
    let (open, own) = (root(path)?, own(path)?);
    for (n, one) in inside.iter().enumerate().rev() {
        let (above, name) = split(one)?;
        if let Some(around) = inside[..n].iter().rev().find(|around| one.starts_with(around)) {
            btrfs::set_writable(&path_of(&walk_to(&open, around)?))?;
        }
        let above = walk_to(&open, above)?;
        // A read-only subvolume cannot be moved.
        if above.rename(name, &own, BEING_DELETED.as_ref()).is_err() {
            btrfs::set_writable(&path_of(&walk_to(&above, Path::new(name))?))?;
            above.rename(name, &own, BEING_DELETED.as_ref())?;
        }
        drop_gone(&own)?;
    }
    Ok(())
}

/// Returns the directory that contains the subvolume at `path`.
fn own(path: &Path) -> Result<Dir> {
    root(path.parent().unwrap_or(path))
}

/// Deletes the moved subvolume.
fn drop_gone(own: &Dir) -> Result<()> {
    let Some(gone) = own.dir(Path::new(BEING_DELETED))? else { return Ok(()) };
    if is_subvolume(&gone) {
        return btrfs::delete(&own.path().join(BEING_DELETED));
    }
    // Another file had the name of the subvolume when it was moved.
    own.remove(BEING_DELETED.as_ref())
}

/// Removes the subvolumes beside the data of a snapshot.
///
/// # Errors
/// btrfs reports an error.
pub fn drop_kept(snapshot: &Path) -> Result<()> {
    let place = snapshot.join(BESIDE);
    let what = || format!("cannot remove `{}`", place.display());
    let entries = match fs::read_dir(&place) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        // An archive contained a file of this name.
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

/// Deletes a subvolume and all subvolumes that containers made inside it.
///
/// # Errors
/// The same as [`delete`].
pub fn delete_all(path: &Path) -> Result<()> {
    if is_btrfs(path)? {
        remove_inside(path)?;
    }
    delete(path)
}
