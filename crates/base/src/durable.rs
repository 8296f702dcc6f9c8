//! Names that survive a power cut. A file system may write a name to the disk before the content that it names, and it may lose a name
//! that a program has just given. So what is published is on the disk before its name, and its name before anyone relies on it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::error::{Kind, OrError, Result};

/// Gives `from` the name `to`, in one step: first `from` itself goes to the disk, at last both names. Of a directory, the caller has
/// written what is in it.
///
/// # Errors
/// Either step fails.
pub fn publish(from: &Path, to: &Path) -> io::Result<()> {
    sync(from)?;
    fs::rename(from, to)?;
    crate::testing::renames::renamed(to);
    sync_names(from, to)
}

/// [`publish`] where the file system writes all names at once, in the order in which they were given (btrfs): one commit is cheaper
/// there than each directory. What has the name is on the disk already, or in the same commit.
///
/// # Errors
/// Either step fails.
pub fn publish_with_commit(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    crate::testing::renames::renamed(to);
    Ok(rustix::fs::syncfs(File::open(to)?)?)
}

/// Exchanges two names in one step: both are there at every instant (`RENAME_EXCHANGE`). The caller writes them to the disk.
///
/// # Errors
/// One is not there.
pub fn swap(a: &Path, b: &Path) -> io::Result<()> {
    Ok(renameat2(AT_FDCWD, a, AT_FDCWD, b, RenameFlags::RENAME_EXCHANGE)?)
}

/// Writes the directories of two names to the disk.
///
/// # Errors
/// One cannot be written.
pub fn sync_names(a: &Path, b: &Path) -> io::Result<()> {
    sync_parent(b)?;
    if a.parent() == b.parent() { Ok(()) } else { sync_parent(a) }
}

/// Writes a file to the disk, or the names in a directory.
///
/// # Errors
/// It cannot be written.
pub fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Writes the names in the directory of `path` to the disk.
///
/// # Errors
/// They cannot be written.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync)
}

/// Makes a directory and those above it. The name of each new one is on the disk.
///
/// # Errors
/// One cannot be made.
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

/// Writes a file so that it is there whole or not at all, also after a power cut.
///
/// # Errors
/// Names the path.
pub fn write_file(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    try_write_file(path, bytes, mode).or_error(Kind::Node, || format!("cannot write `{}`", path.display()))
}

/// [`write_file`], for callers that look at the reason of a failure.
///
/// # Errors
/// It cannot be written; then the old file stands.
pub fn try_write_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".lap-new");
    let new = PathBuf::from(new);
    // A file that a killed writer left may have another mode.
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.write_all(bytes)?;
    drop(file);
    publish(&new, path)
}

/// Removes a file so that it does not come back after a power cut: a record of work under way would have the work done once more.
/// Nothing happens where there is none.
///
/// # Errors
/// Names the path.
pub fn remove_file(path: &Path) -> Result<()> {
    let removed = match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        removed => removed,
    };
    removed.and_then(|()| sync_parent(path)).or_error(Kind::Node, || format!("cannot remove `{}`", path.display()))
}
