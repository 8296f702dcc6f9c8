//! What a disk was told, in its order, and what it may have after a power cut.
//!
//! A disk has everything that it was told before the last flush that it answered. Of what came later it has any part, in blocks of 4 KiB: a
//! block is written whole or not at all, which the file systems rely on.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::random::Random;

const BLOCK: usize = 4096;

pub enum Entry {
    Write { at: u64, bytes: Vec<u8> },
    Flush,
}

/// The log of a disk, from the moment when it began to record.
#[derive(Default)]
pub struct Log {
    entries: Mutex<Option<Vec<Entry>>>,
}

impl Log {
    fn entries(&self) -> MutexGuard<'_, Option<Vec<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins it. While `copy` runs, the disk answers nothing.
    pub fn begin(&self, copy: impl FnOnce()) {
        let mut entries = self.entries();
        copy();
        *entries = Some(Vec::new());
    }

    /// Ends it, and gives what was recorded.
    pub fn end(&self) -> Vec<Entry> {
        self.entries().take().unwrap_or_default()
    }

    /// How many entries there are: a cut at this position has all of them behind it.
    ///
    /// `None`: nothing is recorded.
    pub fn position(&self) -> Option<usize> {
        self.entries().as_ref().map(Vec::len)
    }

    /// Writes to the image, and records it.
    pub fn write(&self, image: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut entries = self.entries();
        image.write_all_at(bytes, at)?;
        if let Some(entries) = &mut *entries {
            entries.push(Entry::Write { at, bytes: bytes.to_vec() });
        }
        Ok(())
    }

    pub fn flush(&self) {
        if let Some(entries) = &mut *self.entries() {
            entries.push(Entry::Flush);
        }
    }
}

/// What the disk has of the writes after the last flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Survives {
    Nothing,
    Everything,
    /// Blocks that this seed chooses.
    Some(u64),
}

/// A power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cut {
    /// So many entries came to the disk.
    pub at: usize,
    pub survives: Survives,
}

/// Where the flushes are: a cut right after each.
pub fn flushes(log: &[Entry]) -> Vec<Cut> {
    let flush = |(at, entry): (usize, &Entry)| matches!(entry, Entry::Flush).then_some(at + 1);
    log.iter().enumerate().filter_map(flush).map(|at| Cut { at, survives: Survives::Nothing }).collect()
}

/// Cuts that a seed chooses.
pub fn seeded(log: &[Entry], seed: u64, count: u64) -> Vec<Cut> {
    let cut = |number| {
        let mut random = Random::new(seed, number);
        let at = random.below(log.len() as u64 + 1) as usize;
        let survives = match random.below(4) {
            0 => Survives::Nothing,
            1 => Survives::Everything,
            _ => Survives::Some(random.below(u64::MAX)),
        };
        Cut { at, survives }
    };
    (0..count).map(cut).collect()
}

/// Writes entries `from..to`, which a flush follows, to an image.
pub fn replay(image: &File, log: &[Entry]) {
    for entry in log {
        if let Entry::Write { at, bytes } = entry {
            image.write_all_at(bytes, *at).unwrap();
        }
    }
}

/// Writes what survives of entries that no flush follows.
pub fn replay_part(image: &File, log: &[Entry], survives: Survives) {
    let mut random = match survives {
        Survives::Nothing => return,
        Survives::Everything => return replay(image, log),
        Survives::Some(seed) => Random::new(seed, 0),
    };
    let of_ten = [1, 5, 9][random.below(3) as usize];
    for entry in log {
        let Entry::Write { at, bytes } = entry else { continue };
        for (n, block) in bytes.chunks(BLOCK).enumerate() {
            if random.below(10) < of_ten {
                image.write_all_at(block, at + (n * BLOCK) as u64).unwrap();
            }
        }
    }
}

/// The position after the last flush before `at`.
pub fn last_flush(log: &[Entry], at: usize) -> usize {
    log[..at].iter().rposition(|entry| matches!(entry, Entry::Flush)).map_or(0, |flush| flush + 1)
}
