//! A directory with all that is in it, copied file by file, and everything a file system knows of a file with it: owners, rights,
//! times to the nanosecond, hard links, holes, attributes, ACLs, FIFOs, sockets, names of any bytes.

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

/// Copies `from`, which nobody writes to, to `to`, which is not there yet. Content is shared where the file system can do that, and
/// read where it cannot.
///
/// # Errors
/// Something cannot be read or written; what was copied stays.
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

/// Removes what is at `path`, in a directory that lap alone changes, with all that is in it; nothing happens where there is nothing.
///
/// # Errors
/// Something in it cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    let (above, name) = (path.parent().unwrap_or(path), path.file_name().unwrap_or_default());
    Dir::find(above)?.map_or(Ok(()), |above| above.remove(name))
}

/// Gives the directory `to` the times of `from`.
///
/// # Errors
/// One is gone.
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
