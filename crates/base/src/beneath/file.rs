//! Regular files, and nothing else.

use std::{
    ffi::OsStr,
    fs::File,
    io::{Read, Write},
    os::fd::AsFd,
    path::Path,
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, RawMode, fstat, openat, renameat},
    io::Errno,
};

use super::dir::{Dir, cannot, reach, shown};
use crate::error::{Error, Kind, OrError, Result};

impl Dir {
    /// Opens the regular file `below` for reading; `None`: there is nothing there.
    ///
    /// # Errors
    /// It is anything else: a link, a FIFO or a device is not opened, and nothing waits for its other end. Or a container holds a lease on it.
    pub fn file(&self, below: &Path) -> Result<Option<File>> {
        let path = self.path.join(below);
        let place = match self.open_path(below) {
            Err(Errno::NOENT) => return Ok(None),
            place => place.map_err(|error| cannot("open", &path, error))?,
        };
        // First what it is: to open a device may already do something.
        let kind = fstat(&place).map_err(|error| cannot("look at", &path, error))?.st_mode;
        if FileType::from_raw_mode(kind) != FileType::RegularFile {
            return Err(Error::new(Kind::Refused, format!("`{}` is not a regular file", shown(&path))));
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

    /// Writes the file `name` so that it is there whole or not at all, also after a power cut. A link of that name is replaced, not followed.
    ///
    /// # Errors
    /// It cannot be written; then the old one stands.
    pub fn write(&self, name: &OsStr, bytes: &[u8], mode: RawMode) -> Result<()> {
        let path = self.path.join(name);
        let failed = |error: Errno| cannot("write", &path, error);
        let mut new = name.to_owned();
        new.push(".lap-new");
        // What a killed writer left, or a container planted.
        self.remove(&new)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(self, &new, flags, Mode::from_raw_mode(mode)).map_err(failed)?);
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.or_error(Kind::Node, || format!("cannot write `{}`", shown(&path)))?;
        renameat(self, &new, self, name).map_err(failed)?;
        self.sync()
    }
}
