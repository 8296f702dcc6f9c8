//! What differs between two states of the data, file by file.
//!
//! Where both descend from the same subvolume, a file that was not touched has the same inode number and the same times in
//! both; elsewhere than on btrfs it is known which file of a snapshot is the copy of which one of the present. Where one was
//! brought back by `--only`, came out of an archive or from elsewhere, neither helps: then size, owner, rights and the time of the
//! last change decide, and where those are equal the content and the attributes.

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

/// How a file differs.
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
    /// Below `/data`; its first part is the container.
    pub path: PathBuf,
    pub change: FileChange,
}

/// Lists what differs in `to` from `from`, both of which are in `pool`, in the order of the paths. A directory that came or went
/// counts with all in it.
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

/// One of the two states. A container may change the present while it is looked at.
struct Side {
    data: Dir,
    /// What it holds beside its data: path, and where it is.
    nested: Vec<(PathBuf, Dir)>,
}

impl Side {
    /// Of the present, all is in its place.
    fn of(data: &Path) -> Result<Self> {
        let snapshot = data.parent().unwrap_or(data);
        let meta: Option<Meta> = state::json(&snapshot.join("meta.json")).value_or_refuse()?;
        let kept = meta.into_iter().flat_map(|meta| meta.nested.kept).enumerate();
        let nested = kept.map(|(n, path)| Ok((path.into(), Dir::open(&list::place(snapshot, n))?)));
        Ok(Self { data: Dir::open(data)?, nested: nested.collect::<Result<_>>()? })
    }

    /// Where the path is: an open directory, and the path below it.
    fn at<'a>(&'a self, path: &'a Path) -> (&'a Dir, &'a Path) {
        // Parents come first, so the last one that is around it is the nearest.
        let around =
            self.nested.iter().rev().find_map(|(around, place)| Some((place, path.strip_prefix(around).ok()?)));
        around.unwrap_or((&self.data, path))
    }

    /// What is in a directory; nothing, where there is none by now.
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
    /// A container decides how deep its directories are: they are in a list, not on the stack.
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

    /// Whether it is known that one is the other's copy, also by another name of that.
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

/// How much of a file is looked at at once.
const PIECE: usize = 64 << 10;

fn same(a: &FileStatus, b: &FileStatus, old: (&Dir, &Path), new: (&Dir, &Path)) -> Result<bool> {
    let of = |node: &FileStatus| (node.kind, node.mode, node.owner, node.written, node.device, node.size);
    if of(a) != of(b) {
        return Ok(false);
    }
    // Sockets are made anew by whoever listens.
    if (a.inode, a.changed) == (b.inode, b.changed) || a.kind == FileType::Socket {
        return Ok(true);
    }
    // Where something of the present is gone, or is something else by now, it differs.
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
    let (mut one, mut other) = (vec![0; PIECE], vec![0; PIECE]);
    let mut left = a.size;
    while left > 0 {
        let length = left.min(PIECE as u64) as usize;
        first
            .read_exact(&mut one[..length])
            .or_error(Kind::Node, || format!("cannot read `{}`", old.0.path().join(&old.1).display()))?;
        // The present may have become shorter meanwhile.
        if second.read_exact(&mut other[..length]).is_err() || one[..length] != other[..length] {
            return Ok(false);
        }
        left -= length as u64;
    }
    Ok(true)
}

/// The open directory that holds a file, and the file's name.
fn above((root, path): (&Dir, &Path)) -> Result<Option<(Dir, OsString)>> {
    let (above, name) = split(path)?;
    Ok(root.dir(above)?.map(|dir| (dir, name.to_owned())))
}

/// Extended attributes, ACLs among them.
fn attributes((dir, name): &(Dir, OsString)) -> BTreeMap<OsString, Option<Vec<u8>>> {
    let path = dir.reach().join(name);
    let names = xattr::list(&path).into_iter().flatten();
    names.map(|name| (name.clone(), xattr::get(&path, &name).ok().flatten())).collect()
}
