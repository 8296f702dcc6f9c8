//! Opens what a container may have changed.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, fstatfs, openat, openat2};

use crate::error::{Error, Kind, OrError, Result};

/// The inode of a subvolume's own directory (`BTRFS_FIRST_FREE_OBJECTID`).
const SUBVOLUME: u64 = 256;
/// The inode of the empty directory that a snapshot has in the place of a subvolume (`BTRFS_EMPTY_SUBVOL_DIR_OBJECTID`).
const PLACEHOLDER: u64 = 2;
const BTRFS: u32 = 0x9123_683e;

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a directory of lap's own.
///
/// # Errors
/// It is none.
pub fn root(path: &Path) -> Result<OwnedFd> {
    openat(CWD, path, FLAGS, Mode::empty()).or_error(Kind::Node, || format!("cannot open `{}`", path.display()))
}

/// Opens the directory `path` below `root`: no part of it is a link, leads out of it, or is another file system.
///
/// # Errors
/// There is no such directory.
pub fn walk_to(root: &OwnedFd, path: &Path) -> Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    openat2(root, path, FLAGS, Mode::empty(), how)
        .or_error(Kind::Node, || format!("cannot open `{}`", super::shown(path)))
}

/// How another program reaches an open directory, whatever its path is by then.
pub fn path_of(open: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), open.as_raw_fd()))
}

/// Whether it is a subvolume of btrfs.
pub fn is_subvolume(open: &OwnedFd) -> bool {
    is(open, SUBVOLUME)
}

/// Whether it stands for a subvolume that the snapshot around it does not hold.
pub fn is_placeholder(open: &OwnedFd) -> bool {
    is(open, PLACEHOLDER)
}

fn is(open: &OwnedFd, inode: u64) -> bool {
    fstat(open).is_ok_and(|stat| stat.st_ino == inode) && fstatfs(open).is_ok_and(|stat| stat.f_type as u32 == BTRFS)
}

/// The device number of the subvolume it is in: that of each subvolume is its own.
///
/// # Errors
/// It cannot be looked at.
pub fn device(open: &OwnedFd) -> Result<u64> {
    fstat(open).map(|stat| stat.st_dev).or_error(Kind::Node, || "cannot read a directory".into())
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

/// Whether the directory at `path` is a subvolume, or stands for one.
pub fn stands_at(path: &Path) -> bool {
    root(path).is_ok_and(|open| is_subvolume(&open) || is_placeholder(&open))
}

/// Splits a path that `meta.json` names: it may have come from elsewhere.
///
/// # Errors
/// It is not one below the data.
pub fn split(path: &Path) -> Result<(&Path, &std::ffi::OsStr)> {
    let is_normal = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    match (path.parent(), path.file_name()) {
        (Some(above), Some(name)) if is_normal => Ok((above, name)),
        _ => Err(Error::new(Kind::Refused, format!("`{}` is not a path below the data", super::shown(path)))),
    }
}
