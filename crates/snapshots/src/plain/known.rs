//! Records which present file each file of a snapshot is a copy of. The next snapshot does not copy such a file again.
//!
//! A file is unchanged as long as its inode number and its change time (ctime) are unchanged. No program can set the
//! change time. There are two exceptions, and both concern the age of a change:
//! - Times have the resolution of the kernel's clock tick. Two changes in the same tick have the same time.
//! - A program can write to a mapped page again without a new time, until the page was written to the disk.
//!
//! So this module first calls syncfs(2), and trusts only times that are older than that call.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs,
    io::{BufWriter, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use lap_base::{
    beneath::dir::Dir,
    error::{Error, Kind, OrError, Result},
};

use crate::{
    id::Id,
    meta,
    tree::{FileStatus, FileTree, read_tree},
};

/// The kernel's clock tick is at most 10 ms.
const TICK: Duration = Duration::from_millis(30);

/// The name of the record for a copy that is not the present data yet.
const PREPARED: &str = "prepared";

/// The values by which a change of a file is detected. The record contains `inode seconds nanoseconds size path`, each
/// ended by a zero byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    changed: (i64, i64),
    size: u64,
}

impl From<&FileStatus> for Stamp {
    fn from(node: &FileStatus) -> Self {
        Self { changed: node.changed, size: node.size }
    }
}

/// The time before which a change must lie, so that the stamp can be trusted.
#[derive(Clone, Copy, Debug)]
pub struct TrustedBefore((i64, i64));

impl TrustedBefore {
    /// Synchronizes the file system, and returns the time before the synchronization.
    pub fn sync(pool: &Path) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(TICK);
        super::super::volume::sync(pool)?;
        Ok(Self((now.as_secs().cast_signed(), i64::from(now.subsec_nanos()))))
    }

    /// Returns whether `stamp` can be trusted.
    pub fn trusts(self, stamp: &Stamp) -> bool {
        stamp.changed < self.0
    }
}

/// The files of one snapshot, by the inode number of the present file that each is a copy of.
#[derive(Debug, Default)]
pub struct KnownFiles {
    data: PathBuf,
    files: HashMap<u64, (Stamp, PathBuf)>,
}

impl KnownFiles {
    /// Reads the newest record. Returns it with the id of its snapshot.
    pub fn read(pool: &Path) -> Option<(Id, Self)> {
        let mut all: Vec<(SystemTime, Id)> = fs::read_dir(directory(pool))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let id: Id = entry.file_name().to_str()?.parse().ok()?;
                Some((entry.metadata().ok()?.modified().ok()?, id))
            })
            .filter(|(_, id)| meta::data(pool, id).is_dir())
            .collect();
        all.sort();
        let (_, id) = all.pop()?;
        let text = fs::read(place(pool, &id)).ok()?;
        let mut known = Self { data: meta::data(pool, &id), files: HashMap::new() };
        let mut words = text.split(|byte| *byte == 0);
        while let Some((inode, stamp, path)) = line(&mut words) {
            known.files.insert(inode, (stamp, path));
        }
        Some((id, known))
    }

    /// The data of the snapshot that has the copies.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Returns the path of the copy of this file, if there is one.
    pub fn copy_of(&self, inode: u64, stamp: &Stamp) -> Option<PathBuf> {
        let (then, path) = self.files.get(&inode)?;
        (then == stamp).then(|| self.data.join(path))
    }
}

fn line<'a>(words: &mut impl Iterator<Item = &'a [u8]>) -> Option<(u64, Stamp, PathBuf)> {
    let mut number = || std::str::from_utf8(words.next()?).ok()?.parse::<i64>().ok();
    let (inode, seconds, nanoseconds, size) = (number()?, number()?, number()?, number()?);
    let path = Path::new(OsStr::from_bytes(words.next()?)).to_owned();
    let stamp = Stamp { changed: (seconds, nanoseconds), size: size.cast_unsigned() };
    Some((inode.cast_unsigned(), stamp, path))
}

/// Records that each file of `tree`, which is the present data, has a copy at the same path of the snapshot `id`.
pub fn write(pool: &Path, id: &Id, tree: &FileTree, before: TrustedBefore) -> Result<()> {
    write_as(pool, &id.to_string(), tree, before)
}

fn write_as(pool: &Path, name: &str, tree: &FileTree, before: TrustedBefore) -> Result<()> {
    let directory = directory(pool);
    let place = directory.join(name);
    let what = || format!("cannot write `{}`", place.display());
    fs::create_dir_all(&directory).or_error(Kind::Node, || format!("cannot make `{}`", directory.display()))?;
    let new = directory.join("new");
    let mut out = BufWriter::new(fs::File::create(&new).or_error(Kind::Node, what)?);
    for dir in &tree.dirs {
        for (name, node) in dir.files.iter().filter(|(_, node)| node.is_file()) {
            let stamp = Stamp::from(node);
            if !before.trusts(&stamp) {
                continue;
            }
            let (inode, (seconds, nanoseconds), size) = (node.inode.cast_signed(), stamp.changed, stamp.size);
            write!(out, "{inode}\0{seconds}\0{nanoseconds}\0{size}\0").or_error(Kind::Node, what)?;
            out.write_all(dir.path.join(name).as_os_str().as_bytes()).or_error(Kind::Node, what)?;
            out.write_all(b"\0").or_error(Kind::Node, what)?;
        }
    }
    let file = out.into_inner().map_err(|error| Error::new(Kind::Node, format!("{}: {}", what(), error.error())))?;
    file.sync_all().or_error(Kind::Node, what)?;
    fs::rename(&new, &place).or_error(Kind::Node, what)
}

/// Records the files of a copy of a snapshot's data that may become the present data. No program may have written to
/// the copy. [`confirm`] makes the record valid.
///
/// # Errors
/// The copy cannot be read.
pub fn prepare(pool: &Path, copy: &Path) -> Result<()> {
    // After this time, all files are old enough to be trusted.
    std::thread::sleep(2 * TICK);
    let before = TrustedBefore::sync(pool)?;
    write_as(pool, PREPARED, &read_tree(&Dir::open(copy)?, &[])?, before)
}

/// Makes the prepared record valid: the copy of the snapshot `id` is the present data now. The call can be repeated,
/// and does nothing if nothing was prepared.
pub fn confirm(pool: &Path, id: &Id) {
    let _ = fs::rename(directory(pool).join(PREPARED), place(pool, id));
}

/// Removes the records of snapshots that no longer exist.
pub fn sweep(pool: &Path) {
    for entry in fs::read_dir(directory(pool)).into_iter().flatten().flatten() {
        let id = entry.file_name().to_str().and_then(|name| name.parse::<Id>().ok());
        if id.is_none_or(|id| !meta::data(pool, &id).is_dir()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Removes the record of a snapshot.
pub fn forget(pool: &Path, id: &Id) {
    let _ = fs::remove_file(place(pool, id));
}

fn directory(pool: &Path) -> PathBuf {
    pool.join("known")
}

fn place(pool: &Path, id: &Id) -> PathBuf {
    directory(pool).join(id.to_string())
}
