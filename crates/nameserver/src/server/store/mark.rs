//! The mark below which no serial may fall. It lies where a restore of the data does not reach, so that a secondary never
//! sees a zone that changed under a serial it had already.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use lap_base::durable;

/// How far ahead of the serials it is written, so that not every change needs it.
const AHEAD: u32 = 1 << 16;

/// The greatest serial that may have been given.
#[derive(Debug)]
pub struct Mark {
    file: Option<PathBuf>,
    written: u32,
    /// It was raised since the start. Before that it may say exactly where a server ended in peace, and must not go on
    /// saying so once anything changes: also not in a zone whose serial is far below.
    raised: bool,
}

impl Mark {
    /// Reads the mark in `directory`; without a directory, or without a mark in it, nothing is known of earlier serials.
    pub fn open(directory: Option<&Path>) -> io::Result<(Self, Option<u32>)> {
        let Some(directory) = directory else { return Ok((Self { file: None, written: 0, raised: false }, None)) };
        let file = directory.join("serial");
        let written = match fs::read_to_string(&file) {
            // Without the mark, serials could be given a second time.
            Ok(text) => {
                let why = |_| format!("`{}` does not contain a serial", file.display());
                Some(text.trim().parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, why(error)))?)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        Ok((Self { file: Some(file), written: written.unwrap_or(0), raised: false }, written))
    }

    /// Makes sure that the mark is at or above `serial` before it is used.
    pub fn reserve(&mut self, serial: u32) -> io::Result<()> {
        if self.raised && serial <= self.written {
            return Ok(());
        }
        self.write(serial.max(self.written).saturating_add(AHEAD))?;
        self.raised = true;
        Ok(())
    }

    /// No serial above it was given.
    pub fn highest(&self) -> u32 {
        self.written
    }

    /// Nothing above `serial` was given: the next start goes on exactly there.
    pub fn settle(&mut self, serial: u32) -> io::Result<()> {
        if serial == self.written { Ok(()) } else { self.write(serial) }
    }

    fn write(&mut self, serial: u32) -> io::Result<()> {
        let Some(path) = &self.file else {
            self.written = serial;
            return Ok(());
        };
        let new = path.with_extension("new");
        fs::write(&new, format!("{serial}\n"))?;
        durable::publish(&new, path)?;
        self.written = serial;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_mark_is_not_no_mark() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Mark::open(Some(dir.path())).unwrap().1, None);
        for bad in ["", "x", "-1", "12 13"] {
            fs::write(dir.path().join("serial"), bad).unwrap();
            let error = Mark::open(Some(dir.path())).unwrap_err();
            assert!(error.to_string().contains("does not contain a serial"), "{bad:?}: {error}");
        }
        fs::write(dir.path().join("serial"), "77\n").unwrap();
        assert_eq!(Mark::open(Some(dir.path())).unwrap().1, Some(77));
    }
}
