//! The mark: an upper bound of all serials that were used. A restore of the data does not touch it, so a secondary
//! never sees different records with a serial that it already has.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use lap_base::durable;

/// The distance between the mark and the serials, so that not every change has to write the mark.
const AHEAD: u32 = 1 << 16;

/// The upper bound of the used serials.
#[derive(Debug)]
pub struct Mark {
    file: Option<PathBuf>,
    written: u32,
    /// Whether the mark was raised since the start. A server that ended normally leaves the exact highest serial. The
    /// first change must replace it, even in a zone with a much lower serial, because after a kill it would otherwise
    /// look exact.
    raised: bool,
}

impl Mark {
    /// Reads the mark in `directory`. Returns `None` as the serial if there is no directory or no mark.
    ///
    /// # Errors
    /// The mark is unreadable or damaged.
    pub fn open(directory: Option<&Path>) -> io::Result<(Self, Option<u32>)> {
        let Some(directory) = directory else { return Ok((Self { file: None, written: 0, raised: false }, None)) };
        let file = directory.join("serial");
        let written = match fs::read_to_string(&file) {
            // A damaged mark is an error: without the mark, a serial could be used twice.
            Ok(text) => {
                let why = |_| format!("`{}` does not contain a serial", file.display());
                Some(text.trim().parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, why(error)))?)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        Ok((Self { file: Some(file), written: written.unwrap_or(0), raised: false }, written))
    }

    /// Raises the mark to at least `serial`. Call it before `serial` is used.
    pub fn reserve(&mut self, serial: u32) -> io::Result<()> {
        if self.raised && serial <= self.written {
            return Ok(());
        }
        self.write(serial.max(self.written).saturating_add(AHEAD))?;
        self.raised = true;
        Ok(())
    }

    /// Returns the upper bound of all used serials.
    pub fn highest(&self) -> u32 {
        self.written
    }

    /// Sets the mark to exactly `serial`, the highest one in use, when the server ends. The next start continues with
    /// it.
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
    fn a_damaged_mark_is_an_error() {
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
