//! What is in a directory, up to a limit.

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

/// How many entries a walk sees, and how deep it goes.
const MOST: usize = 2_000_000;
const DEPTH: usize = 128;

/// One walk through a tree: it counts, so that a container decides neither for how long it lasts nor how much memory it takes.
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

/// One name in a directory, and what it was when the directory was read.
#[derive(Debug)]
pub struct DirEntry {
    pub name: OsString,
    pub stat: Stat,
}

impl DirEntry {
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// The name in UTF-8; what is not becomes a replacement character.
    pub fn text(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }
}

impl Walk {
    /// Without limits: for a copy, which holds all there is.
    pub fn whole() -> Self {
        Self::of(usize::MAX, usize::MAX)
    }

    /// With other limits.
    pub fn of(most: usize, depth: usize) -> Self {
        Self { left: Cell::new(most), depth }
    }

    /// Goes on only if `depth` levels are not too many.
    ///
    /// # Errors
    /// They are.
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
    /// All names in it but `.` and `..`. What goes away meanwhile is left out.
    ///
    /// # Errors
    /// It cannot be read, or `walk` has seen enough.
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
