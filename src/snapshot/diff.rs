//! What differs between two states of the data, file by file.
//!
//! Where both descend from the same subvolume, a file that was not touched has the same inode number and the same times in
//! both; elsewhere than on btrfs it is known which file of a snapshot is the copy of which one of the present. Where one was
//! brought back by `--only`, came out of an archive or from elsewhere, neither helps: then size, owner, rights and the time of the
//! last change decide, and where those are equal the content and the attributes.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    io::Read,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    Meta,
    filesystem::is_btrfs,
    nested,
    plain::{Known, Stamp},
};
use crate::{
    error::{Kind, OrError, Result},
    state,
};

/// How a file differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    Added,
    Changed,
    Removed,
}

/// One file that differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// Below `/data`; its first part is the container.
    pub path: PathBuf,
    pub change: Change,
}

/// Lists what differs in `to` from `from`, both of which are in `pool`, in the order of the paths. A directory that came or went
/// counts with all in it.
///
/// # Errors
/// A directory cannot be read.
pub fn diff(pool: &Path, from: &Path, to: &Path) -> Result<Vec<Difference>> {
    let known = if is_btrfs(pool)? { None } else { Known::read(pool).map(|(_, known)| known) };
    let mut out = Vec::new();
    let (from, to) = (Side::of(from)?, Side::of(to)?);
    Walk { from, to, known: known.unwrap_or_default() }.walk(Path::new(""), &mut out)?;
    out.sort();
    Ok(out)
}

/// One of the two states.
struct Side<'a> {
    data: &'a Path,
    /// What it holds beside its data: path, and where it is.
    nested: Vec<(PathBuf, PathBuf)>,
}

impl<'a> Side<'a> {
    /// Of the present, all is in its place.
    fn of(data: &'a Path) -> Result<Self> {
        let snapshot = data.parent().unwrap_or(data);
        let meta: Option<Meta> = state::json(&snapshot.join("meta.json")).value_or_refuse()?;
        let kept = meta.into_iter().flat_map(|meta| meta.nested.kept).enumerate();
        Ok(Self { data, nested: kept.map(|(n, path)| (path.into(), nested::place(snapshot, n))).collect() })
    }

    fn at(&self, path: &Path) -> PathBuf {
        // Parents come first, so the last one that is around it is the nearest.
        let around =
            self.nested.iter().rev().find_map(|(around, place)| Some((place, path.strip_prefix(around).ok()?)));
        around.map_or_else(|| self.data.join(path), |(place, rest)| place.join(rest))
    }
}

struct Walk<'a> {
    from: Side<'a>,
    to: Side<'a>,
    known: Known,
}

impl Walk<'_> {
    fn walk(&self, below: &Path, out: &mut Vec<Difference>) -> Result<()> {
        let Self { from, to, .. } = self;
        let (before, after) = (entries(&from.at(below))?, entries(&to.at(below))?);
        for (name, old) in &before {
            let path = below.join(name);
            match after.get(name) {
                None => all(from, &path, old, Change::Removed, out)?,
                Some(new) if old.is_dir() && new.is_dir() => self.walk(&path, out)?,
                Some(new) if old.is_dir() || new.is_dir() => {
                    all(from, &path, old, Change::Removed, out)?;
                    all(to, &path, new, Change::Added, out)?;
                }
                Some(new) if self.is_copy(old, new) || same(old, new, &from.at(&path), &to.at(&path))? => {}
                Some(_) => out.push(Difference { path, change: Change::Changed }),
            }
        }
        for (name, new) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
            all(to, &below.join(name), new, Change::Added, out)?;
        }
        Ok(())
    }

    /// Whether it is known that one is the other's copy, also by another name of that.
    fn is_copy(&self, old: &fs::Metadata, new: &fs::Metadata) -> bool {
        let copy = self.known.copy_of(new.ino(), &Stamp::of(new)).and_then(|copy| fs::symlink_metadata(copy).ok());
        copy.is_some_and(|copy| (copy.ino(), copy.size()) == (old.ino(), old.size()))
    }
}

fn all(root: &Side<'_>, path: &Path, meta: &fs::Metadata, change: Change, out: &mut Vec<Difference>) -> Result<()> {
    if !meta.is_dir() {
        out.push(Difference { path: path.to_owned(), change });
        return Ok(());
    }
    entries(&root.at(path))?.iter().try_for_each(|(name, meta)| all(root, &path.join(name), meta, change, out))
}

fn entries(directory: &Path) -> Result<BTreeMap<OsString, fs::Metadata>> {
    let what = || format!("cannot read `{}`", directory.display());
    let mut all = BTreeMap::new();
    let list = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(all),
        list => list.or_error(Kind::Node, what)?,
    };
    for entry in list {
        let entry = entry.or_error(Kind::Node, what)?;
        // Of the present: it may go away while we look.
        if let Ok(meta) = entry.metadata() {
            all.insert(entry.file_name(), meta);
        }
    }
    Ok(all)
}

/// How much of a file is looked at at once.
const PIECE: usize = 64 << 10;

fn same(a: &fs::Metadata, b: &fs::Metadata, old: &Path, new: &Path) -> Result<bool> {
    let of = |m: &fs::Metadata| (m.mode(), m.uid(), m.gid(), m.mtime(), m.mtime_nsec(), m.rdev());
    let untouched = |m: &fs::Metadata| (m.ino(), m.ctime(), m.ctime_nsec());
    if of(a) != of(b) || a.size() != b.size() {
        return Ok(false);
    }
    // Sockets are made anew by whoever listens.
    if untouched(a) == untouched(b) || a.file_type().is_socket() {
        return Ok(true);
    }
    let what = |path: &Path| format!("cannot read `{}`", path.display());
    if a.is_symlink() {
        return Ok(fs::read_link(old).ok() == fs::read_link(new).ok());
    }
    if attributes(old) != attributes(new) {
        return Ok(false);
    }
    if !a.is_file() || a.size() == 0 {
        return Ok(true);
    }
    // Of the present: it may have gone away since.
    let (Ok(first), Ok(second)) = (File::open(old), File::open(new)) else { return Ok(false) };
    let (mut first, mut second) = (first, second);
    let (mut one, mut other) = (vec![0; PIECE], vec![0; PIECE]);
    let mut left = a.size();
    while left > 0 {
        let length = left.min(PIECE as u64) as usize;
        first.read_exact(&mut one[..length]).or_error(Kind::Node, || what(old))?;
        // The present may have become shorter meanwhile.
        if second.read_exact(&mut other[..length]).is_err() || one[..length] != other[..length] {
            return Ok(false);
        }
        left -= length as u64;
    }
    Ok(true)
}

/// Extended attributes, ACLs among them.
fn attributes(path: &Path) -> BTreeMap<OsString, Option<Vec<u8>>> {
    let names = xattr::list(path).into_iter().flatten();
    names.map(|name| (name.clone(), xattr::get(path, &name).ok().flatten())).collect()
}
