//! The differences between two states of the data, file by file.
//!
//! If both states descend from the same subvolume, an unchanged file has the same inode number and the same times in
//! both. On file systems other than btrfs, `known` records which file of a snapshot is the copy of which present file.
//! Neither helps for a file that `--only` restored or that came from an archive. Then the size, owner, mode and
//! modification time decide, and if these are equal, the content and the attributes.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use lap_base::{
    beneath::{Walk, dir::Dir, split},
    error::{Kind, OrError, Result},
    state,
};
use rustix::fs::FileType;
use serde::{Deserialize, Serialize};

use super::{
    filesystem::is_btrfs,
    meta::Meta,
    nested::list,
    plain::{KnownFiles, Stamp},
    tree::{self, FileStatus},
};

/// The kind of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileChange {
    Added,
    Changed,
    Removed,
}

/// One file that differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileDifference {
    /// The path below `/data`. Its first part is the container.
    pub path: PathBuf,
    pub change: FileChange,
}

/// Lists the differences from `from` to `to`, in the order of the paths. Both states are in `pool`. For a directory
/// that was added or removed, each file in it is listed.
///
/// # Errors
/// A directory cannot be read.
pub fn diff(pool: &Path, from: &Path, to: &Path) -> Result<Vec<FileDifference>> {
    let known = if is_btrfs(pool)? { None } else { KnownFiles::read(pool).map(|(_, known)| known) };
    let mut out = Vec::new();
    let (from, to) = (Side::of(from)?, Side::of(to)?);
    Walker { from, to, known: known.unwrap_or_default() }.walk(Path::new(""), &mut out)?;
    out.sort();
    Ok(out)
}

/// One of the two states. A container may change the present data during the comparison.
struct Side {
    data: Dir,
    /// The subvolumes that are stored beside the data: their paths, and their open directories.
    nested: Vec<(PathBuf, Dir)>,
}

impl Side {
    /// Opens a state. In the present data, all subvolumes are in their places.
    fn of(data: &Path) -> Result<Self> {
        let snapshot = data.parent().unwrap_or(data);
        let meta: Option<Meta> = state::json(&snapshot.join("meta.json")).value_or_refuse()?;
        let kept = meta.into_iter().flat_map(|meta| meta.nested.kept).enumerate();
        let nested = kept.map(|(n, path)| Ok((path.into(), Dir::open(&list::place(snapshot, n))?)));
        Ok(Self { data: Dir::open(data)?, nested: nested.collect::<Result<_>>()? })
    }

    /// Returns the open directory that contains `path`, and the path below it.
    fn at<'a>(&'a self, path: &'a Path) -> (&'a Dir, &'a Path) {
        // Parents come first in the list, so the last match is the nearest one.
        let around =
            self.nested.iter().rev().find_map(|(around, place)| Some((place, path.strip_prefix(around).ok()?)));
        around.unwrap_or((&self.data, path))
    }

    /// Returns the entries of a directory. The result is empty if the directory no longer exists.
    fn entries(&self, path: &Path) -> Result<BTreeMap<OsString, FileStatus>> {
        let (root, below) = self.at(path);
        let Some(dir) = root.still_dir(below)? else { return Ok(BTreeMap::new()) };
        Ok(dir.list(&Walk::whole())?.into_iter().map(|entry| (entry.name, FileStatus::of(&entry.stat))).collect())
    }
}

struct Walker {
    from: Side,
    to: Side,
    known: KnownFiles,
}

impl Walker {
    /// A container decides how deep its directories are, so the walk uses a list and not the stack.
    fn walk(&self, below: &Path, out: &mut Vec<FileDifference>) -> Result<()> {
        let mut left = vec![below.to_owned()];
        while let Some(below) = left.pop() {
            self.walk_one(&below, &mut left, out)?;
        }
        Ok(())
    }

    fn walk_one(&self, below: &Path, left: &mut Vec<PathBuf>, out: &mut Vec<FileDifference>) -> Result<()> {
        let Self { from, to, .. } = self;
        let (before, after) = (from.entries(below)?, to.entries(below)?);
        for (name, old) in &before {
            let path = below.join(name);
            match after.get(name) {
                None => all(from, &path, old, FileChange::Removed, out)?,
                Some(new) if is_dir(old) && is_dir(new) => left.push(path),
                Some(new) if is_dir(old) || is_dir(new) => {
                    all(from, &path, old, FileChange::Removed, out)?;
                    all(to, &path, new, FileChange::Added, out)?;
                }
                Some(new) if self.is_copy(old, new) || same(old, new, from.at(&path), to.at(&path))? => {}
                Some(_) => out.push(FileDifference { path, change: FileChange::Changed }),
            }
        }
        for (name, new) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
            all(to, &below.join(name), new, FileChange::Added, out)?;
        }
        Ok(())
    }

    /// Returns whether `new` is known to be a copy of `old`, under any of its names.
    fn is_copy(&self, old: &FileStatus, new: &FileStatus) -> bool {
        let copy = self.known.copy_of(new.inode, &Stamp::from(new)).and_then(|copy| fs::symlink_metadata(copy).ok());
        copy.is_some_and(|copy| (copy.ino(), copy.size()) == (old.inode, old.size))
    }
}

fn is_dir(node: &FileStatus) -> bool {
    node.kind == FileType::Directory
}

fn all(root: &Side, path: &Path, node: &FileStatus, change: FileChange, out: &mut Vec<FileDifference>) -> Result<()> {
    let mut left = vec![(path.to_owned(), is_dir(node))];
    while let Some((path, is_dir_too)) = left.pop() {
        if is_dir_too {
            left.extend(root.entries(&path)?.iter().map(|(name, node)| (path.join(name), is_dir(node))));
        } else {
            out.push(FileDifference { path, change });
        }
    }
    Ok(())
}

/// The size in bytes of a piece of a file that is compared.
const BUFFER_SIZE: usize = 64 << 10;

fn same(a: &FileStatus, b: &FileStatus, old: (&Dir, &Path), new: (&Dir, &Path)) -> Result<bool> {
    let of = |node: &FileStatus| (node.kind, node.mode, node.owner, node.written, node.device, node.size);
    if of(a) != of(b) {
        return Ok(false);
    }
    // A socket is created again by the program that listens.
    if (a.inode, a.changed) == (b.inode, b.changed) || a.kind == FileType::Socket {
        return Ok(true);
    }
    // A file of the present data that was removed or replaced in the meantime counts as different.
    let (Ok(Some(old)), Ok(Some(new))) = (above(old), above(new)) else { return Ok(false) };
    if a.kind == FileType::Symlink {
        return Ok(tree::target(&old.0, &old.1)? == tree::target(&new.0, &new.1)?);
    }
    if attributes(&old) != attributes(&new) {
        return Ok(false);
    }
    if !a.is_file() || a.size == 0 {
        return Ok(true);
    }
    let open = |(dir, name): &(Dir, OsString)| dir.file(Path::new(name)).ok().flatten();
    let (Some(mut first), Some(mut second)) = (open(&old), open(&new)) else { return Ok(false) };
    let (mut one, mut other) = (vec![0; BUFFER_SIZE], vec![0; BUFFER_SIZE]);
    let mut left = a.size;
    while left > 0 {
        let length = left.min(BUFFER_SIZE as u64) as usize;
        first
            .read_exact(&mut one[..length])
            .or_error(Kind::Node, || format!("cannot read `{}`", old.0.path().join(&old.1).display()))?;
        // A present file may have become shorter in the meantime.
        if second.read_exact(&mut other[..length]).is_err() || one[..length] != other[..length] {
            return Ok(false);
        }
        left -= length as u64;
    }
    Ok(true)
}

/// Returns the open directory that contains a file, and the name of the file.
fn above((root, path): (&Dir, &Path)) -> Result<Option<(Dir, OsString)>> {
    let (above, name) = split(path)?;
    Ok(root.dir(above)?.map(|dir| (dir, name.to_owned())))
}

/// Returns the extended attributes, which include ACLs.
fn attributes((dir, name): &(Dir, OsString)) -> BTreeMap<OsString, Option<Vec<u8>>> {
    let path = dir.reach().join(name);
    let names = xattr::list(&path).into_iter().flatten();
    names.map(|name| (name.clone(), xattr::get(&path, &name).ok().flatten())).collect()
}
