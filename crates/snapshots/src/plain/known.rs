//! Which file of the present each file of a snapshot is a copy of: by that the next snapshot finds what it need not copy.
//!
//! A file is the same as long as its inode's number and the time of its last change are, which nobody can set. Two things are
//! between that and the truth, and both are a matter of the moment *before* which a change must lie:
//! - times are as coarse as the kernel's clock tick: what changes within the same tick twice has one time;
//! - a page that a program has mapped and written to may be written again without a new time, until it was on the disk.
//!
//! So whoever looks calls syncfs(2) first, and believes only times that are older than that call.

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

/// The kernel's tick is at most 10 ms.
const TICK: Duration = Duration::from_millis(30);

/// What is written down of a copy that is not the present yet.
const PREPARED: &str = "prepared";

/// What tells a file from what it was before. In the file: `inode seconds nanoseconds size path`, each ended by a zero.
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

/// The moment before which a change must lie to be believed.
#[derive(Clone, Copy, Debug)]
pub struct Before((i64, i64));

impl Before {
    /// Writes all of the file system to the disk; the moment is the one before that.
    pub fn sync(pool: &Path) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(TICK);
        super::super::volume::sync(pool)?;
        Ok(Self((now.as_secs().cast_signed(), i64::from(now.subsec_nanos()))))
    }

    pub fn believes(self, stamp: &Stamp) -> bool {
        stamp.changed < self.0
    }
}

/// The files of one snapshot, by the inode of the present that each is a copy of.
#[derive(Debug, Default)]
pub struct KnownFiles {
    data: PathBuf,
    files: HashMap<u64, (Stamp, PathBuf)>,
}

impl KnownFiles {
    /// Of the snapshot about which that was written down last; and which one that is.
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

    /// Where the copy of this file is, if there is one.
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

/// Writes down that each file of `tree`, which is the present, has its copy at the same path of the snapshot `id`.
pub fn write(pool: &Path, id: &Id, tree: &FileTree, before: Before) -> Result<()> {
    write_as(pool, &id.to_string(), tree, before)
}

fn write_as(pool: &Path, name: &str, tree: &FileTree, before: Before) -> Result<()> {
    let directory = directory(pool);
    let place = directory.join(name);
    let what = || format!("cannot write `{}`", place.display());
    fs::create_dir_all(&directory).or_error(Kind::Node, || format!("cannot make `{}`", directory.display()))?;
    let new = directory.join("new");
    let mut out = BufWriter::new(fs::File::create(&new).or_error(Kind::Node, what)?);
    for dir in &tree.dirs {
        for (name, node) in dir.files.iter().filter(|(_, node)| node.is_file()) {
            let stamp = Stamp::from(node);
            if !before.believes(&stamp) {
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

/// The same of a copy of a snapshot's data that may become the present, and that nobody has written to: it counts from
/// [`confirm`] on.
///
/// # Errors
/// It cannot be looked at.
pub fn prepare(pool: &Path, copy: &Path) -> Result<()> {
    // So that all of it is old enough to be believed.
    std::thread::sleep(2 * TICK);
    let before = Before::sync(pool)?;
    write_as(pool, PREPARED, &read_tree(&Dir::open(copy)?, &[])?, before)
}

/// It has become the present, as it was in the snapshot `id`. May be called again, and where nothing was prepared.
pub fn confirm(pool: &Path, id: &Id) {
    let _ = fs::rename(directory(pool).join(PREPARED), place(pool, id));
}

/// Forgets what no snapshot has any more.
pub fn sweep(pool: &Path) {
    for entry in fs::read_dir(directory(pool)).into_iter().flatten().flatten() {
        let id = entry.file_name().to_str().and_then(|name| name.parse::<Id>().ok());
        if id.is_none_or(|id| !meta::data(pool, &id).is_dir()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Forgets that.
pub fn forget(pool: &Path, id: &Id) {
    let _ = fs::remove_file(place(pool, id));
}

fn directory(pool: &Path) -> PathBuf {
    pool.join("known")
}

fn place(pool: &Path, id: &Id) -> PathBuf {
    directory(pool).join(id.to_string())
}
