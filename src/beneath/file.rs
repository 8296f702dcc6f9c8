//! Regular files, and nothing else.

use std::{fs::File, io::Read, os::fd::AsFd, path::Path};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, fstat, openat},
    io::Errno,
};

use super::{Dir, cannot, reach, shown};
use crate::error::{Error, Kind, OrError, Result};

impl Dir {
    /// Opens the regular file `below` for reading; `None`: there is nothing there.
    ///
    /// # Errors
    /// It is anything else: a link, a FIFO or a device is not opened, and nothing waits for its other end. Or a container holds a lease on it.
    pub fn file(&self, below: &Path) -> Result<Option<File>> {
        let path = self.path.join(below);
        let place = match self.place(below) {
            Err(Errno::NOENT) => return Ok(None),
            place => place.map_err(|error| cannot("open", &path, error))?,
        };
        // First what it is: to open a device may already do something.
        let kind = fstat(&place).map_err(|error| cannot("look at", &path, error))?.st_mode;
        if FileType::from_raw_mode(kind) != FileType::RegularFile {
            return Err(Error::new(Kind::Refused, format!("`{}` is no regular file", shown(&path))));
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = openat(CWD, reach(place.as_fd()), flags, Mode::empty());
        open.map(|open| Some(File::from(open))).map_err(|error| cannot("open", &path, error))
    }

    /// All that is in the regular file `below`, which has `most` bytes at most; `None`: there is nothing there.
    ///
    /// # Errors
    /// As [`Self::file`], or it is larger.
    pub fn read(&self, below: &Path, most: u64) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.file(below)? else { return Ok(None) };
        let path = || shown(&self.path.join(below));
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes).or_error(Kind::Node, || format!("cannot read `{}`", path()))?;
        if bytes.len() as u64 > most {
            return Err(Error::new(Kind::Refused, format!("`{}` is larger than {most} bytes", path())));
        }
        Ok(Some(bytes))
    }
}
