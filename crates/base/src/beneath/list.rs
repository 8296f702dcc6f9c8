//! Lists of directories, with limits.

use std::{
    cell::Cell,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

use rustix::{
    fs::{AtFlags, Dir as Reader, FileType, Stat, statat},
    io::Errno,
};

use super::dir::{Dir, cannot, shown};
use crate::error::{Error, Kind, Result};

/// The default limits of a walk: the number of entries, and the depth.
const MOST: usize = 2_000_000;
const DEPTH: usize = 128;

/// The limits of one walk through a tree. Without them, a container could make the walk arbitrarily long, or make it
/// use any amount of memory.
#[derive(Debug)]
pub struct Walk {
    left: Cell<usize>,
    depth: usize,
}

impl Default for Walk {
    fn default() -> Self {
        Self::of(MOST, DEPTH)
    }
}

/// One entry of a directory, with its metadata at the time of the listing.
#[derive(Debug)]
pub struct DirEntry {
    pub name: OsString,
    pub stat: Stat,
}

impl DirEntry {
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Returns the name as UTF-8. A replacement character stands for each invalid sequence.
    pub fn text(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }
}

impl Walk {
    /// Returns a walk without limits, for a copy, which must contain every file.
    pub fn whole() -> Self {
        Self::of(usize::MAX, usize::MAX)
    }

    /// Returns a walk that permits `most` entries in all and `depth` levels.
    pub fn of(most: usize, depth: usize) -> Self {
        Self { left: Cell::new(most), depth }
    }

    /// Checks that `dir`, at level `depth`, is not too deep for this walk.
    ///
    /// # Errors
    /// `depth` is above the limit.
    pub fn may_enter(&self, dir: &Dir, depth: usize) -> Result<()> {
        if depth <= self.depth {
            return Ok(());
        }
        let message = format!("`{}` is deeper than {} levels", shown(dir.path()), self.depth);
        Err(Error::new(Kind::Refused, message).hint("the container that owns this data must remove it"))
    }

    fn count(&self, dir: &Dir) -> Result<()> {
        match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(Error::new(Kind::Refused, format!("there are too many files up to `{}`", shown(dir.path())))
                .hint("the container that owns this data must remove some")),
        }
    }
}

impl Dir {
    /// Returns all entries except `.` and `..`. An entry that is removed during the call is left out.
    ///
    /// # Errors
    /// The directory cannot be read, or the limit of `walk` is reached.
    pub fn list(&self, walk: &Walk) -> Result<Vec<DirEntry>> {
        let failed = |error: Errno| cannot("read", self.path(), error);
        let mut all = Vec::new();
        for entry in Reader::read_from(self).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            walk.count(self)?;
            match statat(self, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => all.push(DirEntry { name: name.to_owned(), stat }),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(cannot("look at", &self.path().join(name), error)),
            }
        }
        Ok(all)
    }
}
