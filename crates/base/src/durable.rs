//! Files whose names survive a power cut.
//!
//! A file system may write a name to the disk before the content of the file, and it may lose a name that a program has
//! just given. So this module synchronizes the content before it gives the name, and the name before it returns.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::error::{Kind, OrError, Result};

/// Renames `from` to `to` in one step. Synchronizes `from` before the rename, and the directories of both names after
/// it. If `from` is a directory, the caller must have synchronized its content.
///
/// # Errors
/// The rename or a synchronization fails.
pub fn publish(from: &Path, to: &Path) -> io::Result<()> {
    sync(from)?;
    fs::rename(from, to)?;
    crate::testing::renames::renamed(to);
    sync_names(from, to)
}

/// Renames `from` to `to` like [`publish`], with one commit of the file system instead of several calls of fsync(2).
/// Use it on btrfs only: there, a commit contains all earlier changes, so the content is never later on the disk than
/// the name.
///
/// # Errors
/// The rename or the commit fails.
pub fn publish_with_commit(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    crate::testing::renames::renamed(to);
    Ok(rustix::fs::syncfs(File::open(to)?)?)
}

/// Exchanges two names in one step (renameat2(2), `RENAME_EXCHANGE`): both names exist at every instant. The caller
/// must call [`sync_names`].
///
/// # Errors
/// One of the names does not exist, or the file system has no such exchange.
pub fn swap(a: &Path, b: &Path) -> io::Result<()> {
    Ok(renameat2(AT_FDCWD, a, AT_FDCWD, b, RenameFlags::RENAME_EXCHANGE)?)
}

/// Synchronizes the directories of two names to the disk.
///
/// # Errors
/// The disk reports an error.
pub fn sync_names(a: &Path, b: &Path) -> io::Result<()> {
    sync_parent(b)?;
    if a.parent() == b.parent() { Ok(()) } else { sync_parent(a) }
}

/// Synchronizes a file's content, or the names in a directory, to the disk.
///
/// # Errors
/// `path` cannot be opened, or the disk reports an error.
pub fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Synchronizes the names in the directory of `path` to the disk.
///
/// # Errors
/// The directory cannot be opened, or the disk reports an error.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync)
}

/// Makes a directory and its missing parents. The name of each new directory is synchronized to the disk.
///
/// # Errors
/// A directory cannot be made.
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        create_dir_all(above)?;
    }
    match fs::DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.and_then(|()| sync_parent(path)),
    }
}

/// Writes a file. After a power cut the file has either the old content or the new content.
///
/// # Errors
/// The file cannot be written. The message contains the path.
pub fn write_file(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    try_write_file(path, bytes, mode).or_error(Kind::Node, || format!("cannot write `{}`", path.display()))
}

/// Writes a file like [`write_file`], for a caller that needs the cause of a failure.
///
/// # Errors
/// The file cannot be written. Then the old file remains.
pub fn try_write_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".lap-new");
    let new = PathBuf::from(new);
    // A killed writer may have left this file, with another mode.
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.write_all(bytes)?;
    drop(file);
    publish(&new, path)
}

/// Removes a file so that it does not return after a power cut: if the record of an operation returned, the operation
/// would run again. Does nothing if the file does not exist.
///
/// # Errors
/// The file cannot be removed. The message contains the path.
pub fn remove_file(path: &Path) -> Result<()> {
    let removed = match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        removed => removed,
    };
    removed.and_then(|()| sync_parent(path)).or_error(Kind::Node, || format!("cannot remove `{}`", path.display()))
}
