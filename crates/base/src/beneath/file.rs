//! Access to regular files, and to no other kind of file.

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
    /// Opens the regular file `below` for reading. Returns `None` if it does not exist.
    ///
    /// # Errors
    /// `below` is not a regular file: a link, a FIFO or a device is never opened, so the call does not block. Or a
    /// container holds a lease on the file (fcntl(2), `F_SETLEASE`).
    pub fn file(&self, below: &Path) -> Result<Option<File>> {
        let path = self.path.join(below);
        let place = match self.open_path(below) {
            Err(Errno::NOENT) => return Ok(None),
            place => place.map_err(|error| cannot("open", &path, error))?,
        };
        // The kind is checked on the `O_PATH` descriptor, because opening a device can already have an effect.
        let kind = fstat(&place).map_err(|error| cannot("look at", &path, error))?.st_mode;
        if FileType::from_raw_mode(kind) != FileType::RegularFile {
            return Err(Error::new(Kind::Refused, format!("`{}` is not a regular file", shown(&path))));
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = openat(CWD, reach(place.as_fd()), flags, Mode::empty());
        open.map(|open| Some(File::from(open))).map_err(|error| cannot("open", &path, error))
    }

    /// Returns the content of the regular file `below`. Returns `None` if the file does not exist.
    ///
    /// # Errors
    /// The same as [`Self::file`], and the file has more than `most` bytes.
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

    /// Writes the file `name`. After a power cut the file has either the old content or the new content. A symbolic
    /// link of this name is replaced and not followed.
    ///
    /// # Errors
    /// The file cannot be written. Then the old file remains.
    pub fn write(&self, name: &OsStr, bytes: &[u8], mode: RawMode) -> Result<()> {
        let path = self.path.join(name);
        let failed = |error: Errno| cannot("write", &path, error);
        let mut new = name.to_owned();
        new.push(".lap-new");
        // A killed writer may have left this name, or a container may have created it.
        self.remove(&new)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(self, &new, flags, Mode::from_raw_mode(mode)).map_err(failed)?);
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.or_error(Kind::Node, || format!("cannot write `{}`", shown(&path)))?;
        renameat(self, &new, self, name).map_err(failed)?;
        self.sync()
    }
}
