//! Measures the space that the data of a container uses on the disk, within a time limit.

use std::{collections::BTreeSet, ffi::OsStr, os::unix::ffi::OsStrExt, path::Path, time::Instant};

use rustix::fs::{AtFlags, Dir as Reader, FileType, Stat, statat};

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
        while let Some(Level { dir, names }) = levels.last_mut() {
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
            // A file that was removed in the meantime uses no space.
            let Ok(stat) = statat(&*dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            usage.count(&stat);
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                usage.enter(&mut levels, name);
            }
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

    /// Enters a directory that the listing has shown. Another mount does not belong to the container's data.
    fn enter(&mut self, levels: &mut Vec<Level>, name: &OsStr) {
        let above = levels.len();
        let Some(level) = levels.last() else { return };
        let Ok(Some(dir)) = level.dir.still_dir(Path::new(name)) else { return };
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
