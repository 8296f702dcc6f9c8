//! Access to directories that a container may have changed.

use std::{
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use lap_base::{
    beneath::dir::Dir,
    error::{Error, Result},
};
use rustix::fs::{fstat, fstatfs};

pub use lap_base::beneath::split;

/// The inode number of a subvolume's own directory (`BTRFS_FIRST_FREE_OBJECTID`).
const SUBVOLUME: u64 = 256;
/// The inode number of the empty directory that a snapshot contains in the place of a subvolume
/// (`BTRFS_EMPTY_SUBVOL_DIR_OBJECTID`).
const PLACEHOLDER: u64 = 2;
const BTRFS: u32 = 0x9123_683e;

/// Opens a directory that belongs to lap.
///
/// # Errors
/// The directory does not exist, or is not a directory.
pub fn root(path: &Path) -> Result<Dir> {
    Dir::open(path)
}

/// Opens the directory `path` below `root`. No part of it may be a link, lead out of `root`, or be a mount point.
///
/// # Errors
/// There is no such directory.
pub fn walk_to(root: &Dir, path: &Path) -> Result<Dir> {
    root.need(path)
}

/// Returns a path for another program that leads to the open directory, even after a rename.
pub fn path_of(open: &Dir) -> PathBuf {
    open.reach()
}

/// Returns whether the directory is a btrfs subvolume.
pub fn is_subvolume(open: &impl AsFd) -> bool {
    is(open, SUBVOLUME)
}

/// Returns whether the directory is the placeholder of a subvolume that its snapshot does not contain.
pub fn is_placeholder(open: &impl AsFd) -> bool {
    is(open, PLACEHOLDER)
}

fn is(open: &impl AsFd, inode: u64) -> bool {
    fstat(open).is_ok_and(|stat| stat.st_ino == inode) && fstatfs(open).is_ok_and(|stat| stat.f_type as u32 == BTRFS)
}

/// Returns the device number of the subvolume that contains the directory. Each subvolume has its own.
///
/// # Errors
/// The metadata cannot be read.
pub fn device(open: &Dir) -> Result<u64> {
    open.stat().map(|stat| stat.st_dev)
}

/// Returns whether there is a subvolume at `path`, which only lap changes.
pub fn subvolume_at(path: &Path) -> bool {
    root(path).is_ok_and(|open| is_subvolume(&open))
}

/// Returns whether `path` is in a subvolume inside the data. Nothing can be moved into it from outside.
pub fn is_inside(data: &Path, path: &Path) -> bool {
    let inside = || {
        let root = root(data)?;
        let around = walk_to(&root, path.parent().unwrap_or(path))?;
        Ok::<bool, Error>(device(&around)? != device(&root)?)
    };
    inside().unwrap_or_default()
}

/// Returns whether the directory is a subvolume or the placeholder of one.
pub fn stands_for(open: &Dir) -> bool {
    is_subvolume(open) || is_placeholder(open)
}

/// Returns a path on one line, with control characters escaped.
pub(super) fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}
