//! Names change in the open directories that hold them.

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

/// The directory of a path, and its last part.
///
/// # Errors
/// It is not a path of names, below something.
pub fn split(path: &Path) -> Result<(&Path, &OsStr)> {
    let is_normal = path.components().all(|part| matches!(part, Component::Normal(_)));
    match (path.parent(), path.file_name()) {
        (Some(above), Some(name)) if is_normal => Ok((above, name)),
        _ => Err(Error::new(Kind::Refused, format!("`{}` is not a path below the data", shown(path)))),
    }
}

impl Dir {
    /// Makes the directory `below` and those above it, and opens it. The name of each new one is on the disk.
    ///
    /// # Errors
    /// It cannot be made, or something else has its name.
    pub fn make(&self, below: &Path) -> Result<Self> {
        let mut here = self.need(Path::new(""))?;
        for part in below {
            let path = here.path.join(part);
            // `open` refuses what is no plain name.
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

    /// Moves `name` to `to`, where nothing has the name `new`; `false`: there is no `name`.
    ///
    /// # Errors
    /// It cannot be moved.
    pub fn rename(&self, name: &OsStr, to: &Self, new: &OsStr) -> Result<bool> {
        match renameat_with(self, name, to, new, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(true),
            // Or the directory of one of them is gone: then neither has what is looked for.
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(cannot("move", &self.path.join(name), error)),
        }
    }

    /// Exchanges two names in one step.
    ///
    /// # Errors
    /// One is not there, or cannot be moved.
    pub fn exchange(&self, name: &OsStr, with: &Self, other: &OsStr) -> Result<()> {
        renameat_with(self, name, with, other, RenameFlags::EXCHANGE)
            .map_err(|error| cannot("move", &self.path.join(name), error))
    }

    /// Removes the directory `name` if it is empty.
    ///
    /// # Errors
    /// It is not, or cannot be removed.
    pub fn remove_empty(&self, name: &OsStr) -> Result<()> {
        match unlinkat(self, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(cannot("remove", &self.path.join(name), error)),
        }
    }

    /// Writes the names in it to the disk.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn sync(&self) -> Result<()> {
        rustix::fs::fsync(self).map_err(|error| cannot("write", &self.path, error))
    }
}
