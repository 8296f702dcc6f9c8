//! Copies a directory tree file by file, with all attributes that a file system stores: owners, modes, times in
//! nanoseconds, hard links, holes, extended attributes, ACLs, FIFOs, sockets, and names of any bytes.

mod build;
mod file;
mod read;

use std::{os::fd::AsFd, path::Path};

pub use build::{At, FileSource, build};
pub use file::{FileToCopy, copy as copy_file};
use lap_base::{beneath::dir::Dir, error::Result};
pub use read::{FileStatus, FileTree, one, read_tree, target};

use rustix::fs::{CWD, Mode, OFlags, openat};

use self::read::cannot;

/// Copies `from` to `to`, which must not exist. No program may write to `from`. The content is shared if the file
/// system supports it, and copied otherwise.
///
/// # Errors
/// A file cannot be read or written. Files that were copied before remain.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let Some(node) = one(from)? else {
        let root = Dir::open(from)?;
        return build(&read_tree(&root, &[])?, to, &Copies { from: &root });
    };
    let (above, name) = (to.parent().unwrap_or(to), to.file_name().unwrap_or_default());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = openat(CWD, above, flags, Mode::empty()).map_err(|error| cannot("open", above, error))?;
    if node.is_file() {
        let root = Dir::open(from.parent().unwrap_or(from))?;
        let source = FileToCopy { root: &root, path: Path::new(from.file_name().unwrap_or_default()), node: &node };
        return copy_file(&source, open.as_fd(), name, &|| Ok(()));
    }
    file::special(&node, open.as_fd(), name, to)
}

/// Removes `path` and everything in it. Only lap may change its directory. Does nothing if `path` does not exist.
///
/// # Errors
/// A file cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    let (above, name) = (path.parent().unwrap_or(path), path.file_name().unwrap_or_default());
    Dir::find(above)?.map_or(Ok(()), |above| above.remove(name))
}

/// Sets the times of the directory `to` to those of `from`.
///
/// # Errors
/// The times cannot be read or set.
pub fn same_times(from: &Dir, to: &Dir) -> Result<()> {
    file::same_times(from, to).map_err(|error| cannot("give its times to", to.path(), error))
}

struct Copies<'a> {
    from: &'a Dir,
}

impl FileSource for Copies<'_> {
    fn put(&self, at: &At<'_>, node: &FileStatus) -> Result<()> {
        let path = at.dir.path.join(at.name);
        copy_file(&FileToCopy { root: self.from, path: &path, node }, at.to, at.name, &|| Ok(()))
    }
}
