//! How much the data of a container takes on the disk, within a time limit.

use std::{collections::BTreeSet, ffi::OsStr, os::unix::ffi::OsStrExt, path::Path, time::Instant};

use rustix::fs::{AtFlags, Dir as Reader, FileType, Stat, statat};

use super::dir::Dir;

/// The least that a name counts: an empty file has no block of its own, and takes room in the metadata all the same.
const NAME: u64 = 1024;
/// Deeper directories are not entered: each level keeps two files open.
const DEPTH: usize = 400;
/// How many file systems and subvolumes are remembered.
const DEVICES: usize = 256;

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataUsage {
    /// Bytes on the disk; at least so many where something is missing.
    pub bytes: u64,
    pub missing: Option<Unmeasured>,
    /// The devices of the files: of btrfs, each subvolume has its own.
    pub devices: BTreeSet<u64>,
}

/// Why a walk did not see all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmeasured {
    /// It took too long.
    Time,
    /// It is too deep, or the file system refuses.
    Place,
}

/// When a walk ends before it has seen all.
#[derive(Clone, Copy, Debug)]
pub struct UsageLimits {
    pub until: Instant,
    /// More bytes need not be counted.
    pub enough: u64,
}

impl Dir {
    /// The bytes that all below it takes on the disk. A file that is shared with another one, or with a snapshot, counts whole; one with several
    /// names counts once if all of them are here.
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
            // What went away in between takes nothing.
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

    /// Enters a directory that was one when it was looked at. Another mount is not the container's data.
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

/// A directory that is being read.
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
