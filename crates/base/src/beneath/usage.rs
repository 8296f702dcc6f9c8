//! Measures the space that the data of a container uses on the disk, within a time limit.

use std::{collections::BTreeSet, ffi::OsStr, os::unix::ffi::OsStrExt, path::Path, time::Instant};

use rustix::{
    fs::{AtFlags, Dir as Reader, FileType, Stat, statat},
    io::Errno,
};

use super::dir::Dir;

/// The minimum that counts for each name. An empty file has no data block, but uses space in the metadata.
const NAME: u64 = 1024;
/// The maximum depth. Each level needs two open files.
const DEPTH: usize = 400;
/// The maximum number of devices (file systems and subvolumes) in the result.
const DEVICES: usize = 256;

/// The result of a measurement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataUsage {
    /// The space on the disk in bytes. It is a lower limit if `missing` is set.
    pub bytes: u64,
    pub missing: Option<Unmeasured>,
    /// The devices of the files. On btrfs, each subvolume has its own.
    pub devices: BTreeSet<u64>,
}

/// The reason why a measurement is incomplete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmeasured {
    /// The time limit was reached.
    Time,
    /// A directory is too deep, or the file system reports an error.
    Place,
    /// A name was removed or moved during the walk: the walk may have missed data that moved.
    Changed,
}

/// The limits at which a measurement ends early.
#[derive(Clone, Copy, Debug)]
pub struct UsageLimits {
    pub until: Instant,
    /// The measurement ends when it has counted more bytes than this.
    pub enough: u64,
}

impl Dir {
    /// Measures the space of everything below this directory. A file that shares its data with another file or a
    /// snapshot counts fully. A file with several names counts once, if all names are below this directory.
    pub fn usage(&self, limits: UsageLimits) -> DataUsage {
        let mut usage = DataUsage::default();
        if let Ok(stat) = self.stat() {
            usage.count(&stat);
        }
        let here = self.need(Path::new("")).ok().and_then(Level::of);
        usage.missing = here.is_none().then_some(Unmeasured::Place);
        let mut levels: Vec<Level> = here.into_iter().collect();
        while let Some(Level { names, .. }) = levels.last_mut() {
            if usage.bytes > limits.enough {
                break;
            }
            if Instant::now() > limits.until {
                usage.missing = Some(Unmeasured::Time);
                break;
            }
            let entry = match names.next() {
                Some(Ok(entry)) => entry,
                end => {
                    if end.is_some() {
                        usage.missing = Some(Unmeasured::Place);
                    }
                    levels.pop();
                    continue;
                }
            };
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            usage.entry(&mut levels, name);
        }
        usage
    }
}

impl DataUsage {
    fn count(&mut self, stat: &Stat) {
        let names = u64::from(stat.st_nlink as u32).max(1);
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let bytes = stat.st_blocks.cast_unsigned() * 512 / if is_directory { 1 } else { names };
        self.bytes = self.bytes.saturating_add(bytes.max(NAME));
        if self.devices.len() < DEVICES {
            self.devices.insert(stat.st_dev);
        }
    }

    /// Counts a name that the listing has shown, and enters it if it is a directory.
    fn entry(&mut self, levels: &mut Vec<Level>, name: &OsStr) {
        let Some(level) = levels.last() else { return };
        match statat(&level.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                self.count(&stat);
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    self.enter(levels, name);
                }
            }
            Err(Errno::NOENT) => self.changed(),
            Err(_) => self.missing = Some(Unmeasured::Place),
        }
    }

    /// A stronger reason stays.
    fn changed(&mut self) {
        self.missing.get_or_insert(Unmeasured::Changed);
    }

    /// Enters a directory that the listing has shown. Another mount does not belong to the container's data.
    fn enter(&mut self, levels: &mut Vec<Level>, name: &OsStr) {
        let above = levels.len();
        let Some(level) = levels.last() else { return };
        let dir = match level.dir.still_dir(Path::new(name)) {
            Ok(Some(dir)) => dir,
            Ok(None) => return self.changed(),
            Err(_) => return,
        };
        match Level::of(dir).filter(|_| above < DEPTH) {
            Some(level) => levels.push(level),
            None => self.missing = Some(Unmeasured::Place),
        }
    }
}

/// A directory while it is read.
struct Level {
    dir: Dir,
    names: Reader,
}

impl Level {
    fn of(dir: Dir) -> Option<Self> {
        let names = Reader::read_from(&dir).ok()?;
        Some(Self { dir, names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_vanishes_during_the_walk_makes_the_measurement_incomplete() {
        let room = tempfile::tempdir().unwrap();
        let level = || vec![Level::of(Dir::open(room.path()).unwrap()).unwrap()];
        let mut vanished = DataUsage::default();
        vanished.entry(&mut level(), OsStr::new("vanished"));
        assert_eq!(vanished.missing, Some(Unmeasured::Changed));
        let mut moved = DataUsage::default();
        moved.enter(&mut level(), OsStr::new("moved"));
        assert_eq!(moved.missing, Some(Unmeasured::Changed));
        let mut deep = DataUsage { missing: Some(Unmeasured::Place), ..DataUsage::default() };
        deep.entry(&mut level(), OsStr::new("vanished"));
        assert_eq!(deep.missing, Some(Unmeasured::Place));
    }
}
