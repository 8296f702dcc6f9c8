//! What is in a directory, all of it.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use lap_base::{
    beneath::{DirEntry, Walk, dir::Dir},
    error::{Error, Kind, Result},
};
use rustix::{
    fs::{FileType, Stat, readlinkat},
    io::Errno,
};

use crate::subvolume;

/// A directory with everything in it: parents come before their children.
#[derive(Debug, Default)]
pub struct FileTree {
    pub dirs: Vec<TreeDirectory>,
}

/// One directory, and what is in it that is none.
#[derive(Debug)]
pub struct TreeDirectory {
    /// Below the tree's root, which is the first one and has an empty path.
    pub path: PathBuf,
    pub node: FileStatus,
    pub files: Vec<(OsString, FileStatus)>,
}

/// A file, a directory or anything else, as its file system knows it.
#[derive(Clone, Debug)]
pub struct FileStatus {
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

impl FileStatus {
    /// Bytes on the disk are no property of a file, so they are not here.
    #[expect(clippy::unnecessary_cast, reason = "the fields' types differ between architectures")]
    pub fn of(stat: &Stat) -> Self {
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
pub fn read_tree(root: &Dir, leave: &[&str]) -> Result<FileTree> {
    let mut tree = FileTree::default();
    let device = root.stat()?.st_dev;
    let mut left = vec![(PathBuf::new(), device)];
    let walk = Walk::whole();
    while let Some((path, on)) = left.pop() {
        let open = match root.still_dir(&path) {
            Ok(Some(open)) => open,
            Ok(None) => continue,
            Err(_) if on != device => return Err(elsewhere(&path)),
            Err(error) => return Err(error),
        };
        let stat = open.stat()?;
        if stat.st_dev != device && subvolume::stands_for(&open) {
            // The caller puts the subvolume there. In what a restore replaced, it still lies in the data.
            tree.dirs.push(TreeDirectory { path, node: FileStatus::of(&stat), files: Vec::new() });
            continue;
        }
        if stat.st_dev != device {
            return Err(elsewhere(&path));
        }
        let mut node = FileStatus::of(&stat);
        // Of the directory itself: the path before it is a link of the kernel's.
        node.attributes = attributes(&open.reach().join("."))?;
        let mut dir = TreeDirectory { path, node, files: Vec::new() };
        for DirEntry { name, stat } in open.list(&walk)? {
            if dir.path.as_os_str().is_empty() && leave.iter().any(|leave| name == *leave) {
                continue;
            }
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                left.push((dir.path.join(name), stat.st_dev));
            } else {
                dir.files.extend(other(&open, name, &stat)?);
            }
        }
        tree.dirs.push(dir);
    }
    Ok(tree)
}

fn elsewhere(path: &Path) -> Error {
    let name = path.to_string_lossy().escape_debug().to_string();
    Error::new(Kind::Refused, format!("`{name}` is another file system, which a snapshot does not contain"))
        .hint("mount it outside of /data")
}

/// What is at `path`, in a directory that lap alone changes; `None`: a directory.
///
/// # Errors
/// There is nothing, or it cannot be read.
pub fn one(path: &Path) -> Result<Option<FileStatus>> {
    let (above, name) = (path.parent().unwrap_or(path), path.file_name().unwrap_or_default());
    let open = Dir::open(above)?;
    let gone = || cannot("look at", path, Errno::NOENT);
    let stat = open.metadata(Path::new(name))?.ok_or_else(gone)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Ok(None);
    }
    other(&open, name.to_owned(), &stat)?.map(|(_, node)| Some(node)).ok_or_else(gone)
}

fn other(open: &Dir, name: OsString, stat: &Stat) -> Result<Option<(OsString, FileStatus)>> {
    let mut node = FileStatus::of(stat);
    if node.kind == FileType::Symlink {
        match target(open, &name)? {
            Some(target) => node.target = target,
            None => return Ok(None),
        }
    }
    if !node.is_file() {
        node.attributes = attributes(&open.reach().join(&name))?;
    }
    Ok(Some((name, node)))
}

/// Where the link `name` leads; `None`: there is no such link any more.
///
/// # Errors
/// It cannot be read.
pub fn target(open: &Dir, name: &OsStr) -> Result<Option<OsString>> {
    match readlinkat(open, name, Vec::new()) {
        Ok(target) => Ok(Some(OsString::from_vec(target.into_bytes()))),
        Err(Errno::NOENT | Errno::INVAL) => Ok(None),
        Err(error) => Err(cannot("read", &open.path().join(name), error)),
    }
}

/// Of what is no regular file; a link at the end of `path` is not followed.
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

pub(super) fn cannot(what: &str, path: &Path, error: rustix::io::Errno) -> Error {
    Error::new(Kind::Node, format!("cannot {what} `{}`: {error}", path.display()))
}
