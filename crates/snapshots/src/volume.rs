//! What the data, the state and every snapshot are: subvolumes where the pool is btrfs, directories where it is not.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use lap_base::error::{Error, Kind, OrError, Result};

use super::{btrfs, filesystem::is_btrfs, plain, tree};

/// Makes an empty one.
///
/// # Errors
/// The disk is full.
pub fn create(path: &Path) -> Result<()> {
    if is_btrfs(above(path))? {
        return btrfs::create(path);
    }
    fs::create_dir(path).or_error(Kind::Node, || format!("cannot make `{}`", path.display()))
}

/// Makes `to` one that may be written to, with all that is in `from`, which nobody writes to meanwhile.
///
/// # Errors
/// The disk is full.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    if is_btrfs(from)? {
        return btrfs::snapshot(from, to, false);
    }
    tree::copy(from, to)
}

/// Deletes one.
///
/// # Errors
/// btrfs refuses, or something in it cannot be removed.
pub fn delete(path: &Path) -> Result<()> {
    if is_btrfs(path)? {
        return btrfs::delete(path);
    }
    tree::remove(path)
}

/// Nobody may write to it from now on. Elsewhere than on btrfs nobody holds root back: containers do not see it, and lap does not.
///
/// # Errors
/// What btrfs says.
pub fn set_read_only(path: &Path) -> Result<()> {
    if is_btrfs(path)? { btrfs::set_read_only(path) } else { Ok(()) }
}

/// A number that it keeps whatever it is called.
///
/// # Errors
/// There is none.
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

/// Waits until everything that was done on this file system is on the disk. On btrfs that is one commit.
///
/// # Errors
/// It cannot be written.
pub fn sync(path: &Path) -> Result<()> {
    let what = || format!("cannot write `{}` to the disk", path.display());
    let open = fs::File::open(path).or_error(Kind::Node, what)?;
    rustix::fs::syncfs(open).or_error(Kind::Node, what)
}

/// Bytes that only this one, or this directory in one, has, and all it has.
///
/// # Errors
/// Something cannot be read.
pub fn usage(path: &Path) -> Result<(u64, u64)> {
    if is_btrfs(path)? { btrfs::usage(path) } else { plain::usage(path) }
}

fn above(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}
