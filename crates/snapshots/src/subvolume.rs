//! Opens what a container may have changed.

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

/// The inode of a subvolume's own directory (`BTRFS_FIRST_FREE_OBJECTID`).
const SUBVOLUME: u64 = 256;
/// The inode of the empty directory that a snapshot has in the place of a subvolume (`BTRFS_EMPTY_SUBVOL_DIR_OBJECTID`).
const PLACEHOLDER: u64 = 2;
const BTRFS: u32 = 0x9123_683e;

/// Opens a directory of lap's own.
///
/// # Errors
/// It is none.
pub fn root(path: &Path) -> Result<Dir> {
    Dir::open(path)
}

/// Opens the directory `path` below `root`: no part of it is a link, leads out of it, or is another mount.
///
/// # Errors
/// There is no such directory.
pub fn walk_to(root: &Dir, path: &Path) -> Result<Dir> {
    root.need(path)
}

/// How another program reaches an open directory, whatever its path is by then.
pub fn path_of(open: &Dir) -> PathBuf {
    open.reach()
}

/// Whether it is a subvolume of btrfs.
pub fn is_subvolume(open: &impl AsFd) -> bool {
    is(open, SUBVOLUME)
}

/// Whether it stands for a subvolume that the snapshot around it does not hold.
pub fn is_placeholder(open: &impl AsFd) -> bool {
    is(open, PLACEHOLDER)
}

fn is(open: &impl AsFd, inode: u64) -> bool {
    fstat(open).is_ok_and(|stat| stat.st_ino == inode) && fstatfs(open).is_ok_and(|stat| stat.f_type as u32 == BTRFS)
}

/// The device number of the subvolume it is in: that of each subvolume is its own.
///
/// # Errors
/// It cannot be looked at.
pub fn device(open: &Dir) -> Result<u64> {
    open.stat().map(|stat| stat.st_dev)
}

/// Whether a subvolume is at `path`, which lap alone changes.
pub fn subvolume_at(path: &Path) -> bool {
    root(path).is_ok_and(|open| is_subvolume(&open))
}

/// Whether `path` below the data lies in a subvolume of its own, so that nothing can be moved there.
pub fn is_inside(data: &Path, path: &Path) -> bool {
    let inside = || {
        let root = root(data)?;
        let around = walk_to(&root, path.parent().unwrap_or(path))?;
        Ok::<bool, Error>(device(&around)? != device(&root)?)
    };
    inside().unwrap_or_default()
}

/// Whether the directory is a subvolume, or stands for one.
pub fn stands_for(open: &Dir) -> bool {
    is_subvolume(open) || is_placeholder(open)
}

/// A path of any bytes as one line.
pub(super) fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}
