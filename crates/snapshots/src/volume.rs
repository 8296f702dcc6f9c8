//! Volumes: the data, the state and every snapshot. They are subvolumes if the pool is btrfs, and directories
//! otherwise.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use lap_base::error::{Error, Kind, OrError, Result};

use super::{btrfs, filesystem::is_btrfs, plain, tree};

/// Makes an empty volume.
///
/// # Errors
/// The disk is full.
pub fn create(path: &Path) -> Result<()> {
    if is_btrfs(above(path))? {
        return btrfs::create(path);
    }
    fs::create_dir(path).or_error(Kind::Node, || format!("cannot make `{}`", path.display()))
}

/// Makes `to` a writable copy of `from`. No program may write to `from` during the call.
///
/// # Errors
/// The disk is full.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    if is_btrfs(from)? {
        return btrfs::snapshot(from, to, false);
    }
    tree::copy(from, to)
}

/// Deletes a volume.
///
/// # Errors
/// btrfs reports an error, or a file cannot be removed.
pub fn delete(path: &Path) -> Result<()> {
    if is_btrfs(path)? {
        return btrfs::delete(path);
    }
    tree::remove(path)
}

/// Makes a volume read-only. Without btrfs this does nothing: containers have no access to the volume, and lap does not
/// write to it.
///
/// # Errors
/// The error message of btrfs.
pub fn set_read_only(path: &Path) -> Result<()> {
    if is_btrfs(path)? { btrfs::set_read_only(path) } else { Ok(()) }
}

/// Returns the number of a volume. A rename does not change it.
///
/// # Errors
/// The volume does not exist.
pub fn number(path: &Path) -> Result<u64> {
    if is_btrfs(path)? {
        return btrfs::number(path);
    }
    let what = || format!("cannot look at `{}`", path.display());
    let meta = fs::symlink_metadata(path).or_error(Kind::Node, what)?;
    if !meta.is_dir() {
        return Err(Error::new(Kind::Node, format!("`{}` is not a directory", path.display())));
    }
    Ok(meta.ino())
}

/// Waits until all changes of the file system are on the disk. On btrfs this is one commit.
///
/// # Errors
/// The disk reports an error.
pub fn sync(path: &Path) -> Result<()> {
    let what = || format!("cannot write `{}` to the disk", path.display());
    let open = fs::File::open(path).or_error(Kind::Node, what)?;
    rustix::fs::syncfs(open).or_error(Kind::Node, what)
}

/// Returns the size in bytes of a volume, or of a directory in one: first the part that it shares with no other volume,
/// then the total.
///
/// # Errors
/// A file cannot be read.
pub fn usage(path: &Path) -> Result<(u64, u64)> {
    if is_btrfs(path)? { btrfs::usage(path) } else { plain::usage(path) }
}

fn above(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}
