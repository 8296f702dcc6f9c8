//! What is in a directory, all of it.

use std::{
    ffi::{OsStr, OsString},
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Dir as Reader, FileType, Mode, OFlags, Stat, openat, readlinkat, statat},
    io::Errno,
};

use super::cannot;
use crate::{
    error::{Error, Kind, Result},
    snapshot::nested,
};

/// A directory with everything in it: parents come before their children.
#[derive(Debug, Default)]
pub struct Tree {
    pub dirs: Vec<Dir>,
}

/// One directory, and what is in it that is none.
#[derive(Debug)]
pub struct Dir {
    /// Below the tree's root, which is the first one and has an empty path.
    pub path: PathBuf,
    pub node: Node,
    pub files: Vec<(OsString, Node)>,
}

/// A file, a directory or anything else, as its file system knows it.
#[derive(Clone, Debug)]
pub struct Node {
    pub kind: FileType,
    pub inode: u64,
    pub links: u64,
    pub mode: u32,
    pub owner: (u32, u32),
    pub size: u64,
    pub device: u64,
    /// Seconds and nanoseconds.
    pub read: (i64, i64),
    pub written: (i64, i64),
    /// Of its content or of anything else of it; nobody can set this one.
    pub changed: (i64, i64),
    /// Where a link leads; nothing for all others.
    pub target: OsString,
    /// Extended attributes. Of a regular file they are read with its content, and these are empty.
    pub attributes: Vec<(OsString, Vec<u8>)>,
}

impl Node {
    /// Bytes on the disk are no property of a file, so they are not here.
    #[expect(clippy::unnecessary_cast, reason = "the fields' types differ between architectures")]
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            kind: FileType::from_raw_mode(stat.st_mode),
            inode: stat.st_ino,
            links: stat.st_nlink as u64,
            mode: stat.st_mode & 0o7777,
            owner: (stat.st_uid, stat.st_gid),
            size: stat.st_size as u64,
            device: stat.st_rdev as u64,
            read: (stat.st_atime as i64, stat.st_atime_nsec as i64),
            written: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            target: OsString::new(),
            attributes: Vec::new(),
        }
    }

    /// Whether it has content.
    pub fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }
}

/// Looks at everything below `root` but what has one of the names `leave` directly in it. What goes away meanwhile is not in it.
///
/// # Errors
/// Something cannot be read; or something is on another file system, which a copy would not hold.
pub fn look(root: &Path, leave: &[&str]) -> Result<Tree> {
    let stat = statat(CWD, root, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| cannot("read", root, error))?;
    let mut tree = Tree::default();
    let mut left = vec![(PathBuf::new(), stat)];
    let device = stat.st_dev;
    while let Some((path, stat)) = left.pop() {
        let whole = root.join(&path);
        if stat.st_dev != device && nested::stands_at(&whole) {
            // The caller puts the subvolume there. In what a restore replaced, it still lies in the data.
            tree.dirs.push(Dir { path, node: Node::of(&stat), files: Vec::new() });
            continue;
        }
        if stat.st_dev != device {
            let name = path.to_string_lossy().escape_debug().to_string();
            return Err(Error::new(
                Kind::Refused,
                format!("`{name}` is another file system, which a snapshot does not contain"),
            )
            .hint("mount it outside of /data"));
        }
        let mut node = Node::of(&stat);
        node.attributes = attributes(&whole)?;
        let mut dir = Dir { path, node, files: Vec::new() };
        let Some(open) = open(&whole)? else { continue };
        let reader = Reader::read_from(&open).map_err(|error| cannot("read", &whole, error))?;
        for entry in reader {
            let entry = entry.map_err(|error| cannot("read", &whole, error))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "."
                || name == ".."
                || (dir.path.as_os_str().is_empty() && leave.iter().any(|leave| name == *leave))
            {
                continue;
            }
            match statat(&open, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => {}
                Err(error) => return Err(cannot("read", &whole.join(name), error)),
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                    left.push((dir.path.join(name), stat));
                }
                Ok(stat) => dir.files.extend(other(&open, &whole, name, &stat)?),
            }
        }
        tree.dirs.push(dir);
    }
    Ok(tree)
}

/// What is at `path`; `None`: a directory.
///
/// # Errors
/// There is nothing, or it cannot be read.
pub fn one(path: &Path) -> Result<Option<Node>> {
    let stat = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| cannot("read", path, error))?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Ok(None);
    }
    let (above, name) = (path.parent().unwrap_or(path), path.file_name().unwrap_or_default());
    let gone = || cannot("read", path, Errno::NOENT);
    let open = open(above)?.ok_or_else(gone)?;
    other(&open, above, name, &stat)?.map(|(_, node)| Some(node)).ok_or_else(gone)
}

/// `None`: it is gone.
fn open(path: &Path) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(CWD, path, flags, Mode::empty()) {
        Ok(open) => Ok(Some(open)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(cannot("open", path, error)),
    }
}

fn other(open: &OwnedFd, above: &Path, name: &OsStr, stat: &Stat) -> Result<Option<(OsString, Node)>> {
    let mut node = Node::of(stat);
    if node.kind == FileType::Symlink {
        match readlinkat(open, name, Vec::new()) {
            Ok(target) => node.target = OsString::from_vec(target.into_bytes()),
            Err(Errno::NOENT | Errno::INVAL) => return Ok(None),
            Err(error) => return Err(cannot("read", &above.join(name), error)),
        }
    }
    if !node.is_file() {
        node.attributes = attributes(&above.join(name))?;
    }
    Ok(Some((name.to_owned(), node)))
}

/// Of what is no regular file; links are not followed.
fn attributes(path: &Path) -> Result<Vec<(OsString, Vec<u8>)>> {
    let what = |error: std::io::Error| {
        Error::new(Kind::Node, format!("cannot read the attributes of `{}`: {error}", path.display()))
    };
    let gone =
        |error: &std::io::Error| matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::Unsupported);
    let names = match xattr::list(path) {
        Ok(names) => names,
        Err(error) if gone(&error) => return Ok(Vec::new()),
        Err(error) => return Err(what(error)),
    };
    let mut all = Vec::new();
    for name in names {
        if let Some(value) = xattr::get(path, &name).map_err(what)? {
            all.push((name, value));
        }
    }
    Ok(all)
}
