//! Changes of names in open directories.

use std::{
    ffi::OsStr,
    path::{Component, Path},
};

use rustix::{
    fs::{AtFlags, Mode, RenameFlags, mkdirat, renameat_with, unlinkat},
    io::Errno,
};

use super::dir::{Dir, cannot, shown};
use crate::error::{Error, Kind, Result};

/// Splits a relative path into its directory and its last part.
///
/// # Errors
/// `path` is empty or absolute, or contains `.` or `..`.
pub fn split(path: &Path) -> Result<(&Path, &OsStr)> {
    let is_normal = path.components().all(|part| matches!(part, Component::Normal(_)));
    match (path.parent(), path.file_name()) {
        (Some(above), Some(name)) if is_normal => Ok((above, name)),
        _ => Err(Error::new(Kind::Refused, format!("`{}` is not a path below the data", shown(path)))),
    }
}

impl Dir {
    /// Makes the directory `below` and its missing parents, and opens it. The name of each new directory is
    /// synchronized to the disk.
    ///
    /// # Errors
    /// A directory cannot be made, or a file that is not a directory has one of the names.
    pub fn make(&self, below: &Path) -> Result<Self> {
        let mut here = self.need(Path::new(""))?;
        for part in below {
            let path = here.path.join(part);
            // `dir` refuses a part that is not a plain name.
            let next = match here.dir(Path::new(part))? {
                Some(next) => next,
                None => {
                    match mkdirat(&here, part, Mode::from_raw_mode(0o755)) {
                        Ok(()) => here.sync()?,
                        Err(Errno::EXIST) => {}
                        Err(error) => return Err(cannot("make", &path, error)),
                    }
                    here.need(Path::new(part))?
                }
            };
            here = next;
        }
        Ok(here)
    }

    /// Moves `name` to the name `new` in the directory `to`. Returns `false` if `name` does not exist.
    ///
    /// # Errors
    /// `new` already exists, or `name` cannot be moved.
    pub fn rename(&self, name: &OsStr, to: &Self, new: &OsStr) -> Result<bool> {
        match renameat_with(self, name, to, new, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(true),
            // `ENOENT` also means that one of the two open directories was removed. Then `name` does not exist either.
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(cannot("move", &self.path.join(name), error)),
        }
    }

    /// Exchanges `name` and `other` in `with`, in one step.
    ///
    /// # Errors
    /// One of the names does not exist, or cannot be moved.
    pub fn exchange(&self, name: &OsStr, with: &Self, other: &OsStr) -> Result<()> {
        renameat_with(self, name, with, other, RenameFlags::EXCHANGE)
            .map_err(|error| cannot("move", &self.path.join(name), error))
    }

    /// Removes the directory `name`. Does nothing if it does not exist.
    ///
    /// # Errors
    /// The directory is not empty, or cannot be removed.
    pub fn remove_empty(&self, name: &OsStr) -> Result<()> {
        match unlinkat(self, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(cannot("remove", &self.path.join(name), error)),
        }
    }

    /// Synchronizes the names in this directory to the disk.
    ///
    /// # Errors
    /// The disk reports an error.
    pub fn sync(&self) -> Result<()> {
        rustix::fs::fsync(self).map_err(|error| cannot("write", &self.path, error))
    }
}
