//! A directory with all that is in it, copied file by file, and everything a file system knows of a file with it: owners, rights,
//! times to the nanosecond, hard links, holes, attributes, ACLs, FIFOs, sockets, names of any bytes.

mod build;
mod file;
mod look;
mod remove;

use std::{os::fd::AsFd, path::Path};

pub use build::{At, Files, build};
pub use file::{Source, copy as copy_file};
pub use look::{Dir, Node, Tree, look};
pub use remove::remove;

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::error::{Error, Kind, Result};

/// Copies `from`, which nobody writes to, to `to`, which is not there yet. Content is shared where the file system can do that, and
/// read where it cannot.
///
/// # Errors
/// Something cannot be read or written; what was copied stays.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let Some(node) = look::one(from)? else { return build(&look(from, &[])?, to, &Copies { from }) };
    let (above, name) = (to.parent().unwrap_or(to), to.file_name().unwrap_or_default());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = openat(CWD, above, flags, Mode::empty()).map_err(|error| cannot("open", above, error))?;
    if node.is_file() {
        return copy_file(&Source { path: from, node: &node, watched: false }, open.as_fd(), name, &|| Ok(()));
    }
    file::special(&node, open.as_fd(), name, to)
}

/// Gives the directory `to` the times of `from`; nothing where they are none.
///
/// # Errors
/// One is gone.
pub fn same_times(from: &Path, to: &Path) -> Result<()> {
    if look::one(from)?.is_some() || look::one(to)?.is_some() {
        return Ok(());
    }
    file::same_times(from, to).map_err(|error| cannot("set the times of", to, error))
}

struct Copies<'a> {
    from: &'a Path,
}

impl Files for Copies<'_> {
    fn put(&self, at: &At<'_>, node: &Node) -> Result<()> {
        let path = self.from.join(&at.dir.path).join(at.name);
        copy_file(&Source { path: &path, node, watched: false }, at.to, at.name, &|| Ok(()))
    }
}

fn cannot(what: &str, path: &Path, error: rustix::io::Errno) -> Error {
    Error::new(Kind::Node, format!("cannot {what} `{}`: {error}", path.display()))
}
