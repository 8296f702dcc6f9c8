//! Reads the status of all files in a directory tree.

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

/// A directory tree. Parents come before their children.
#[derive(Debug, Default)]
pub struct FileTree {
    pub dirs: Vec<TreeDirectory>,
}

/// One directory, with its entries that are not directories.
#[derive(Debug)]
pub struct TreeDirectory {
    /// The path below the root of the tree. The root is the first directory and has an empty path.
    pub path: PathBuf,
    pub node: FileStatus,
    pub files: Vec<(OsString, FileStatus)>,
}

/// The status of a file of any kind.
#[derive(Clone, Debug)]
pub struct FileStatus {
    pub kind: FileType,
    pub inode: u64,
    pub links: u64,
    pub mode: u32,
    pub owner: (u32, u32),
    pub size: u64,
    pub device: u64,
    /// The access time in seconds and nanoseconds.
    pub read: (i64, i64),
    /// The modification time of the content.
    pub written: (i64, i64),
    /// The time of the last change of the content or of an attribute. No program can set it.
    pub changed: (i64, i64),
    /// The target of a symbolic link. It is empty for other files.
    pub target: OsString,
    /// The extended attributes. They are empty for a regular file, because they are read together with its content.
    pub attributes: Vec<(OsString, Vec<u8>)>,
}

impl FileStatus {
    /// Converts the result of stat(2). The space on the disk is not an attribute of a file and is left out.
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

    /// Returns whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }
}

/// Reads the status of everything below `root`, except entries with one of the names `leave` at its top. Files that are
/// removed at the same time are left out.
///
/// # Errors
/// A file cannot be read, or is on another file system, which a copy would not contain.
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
            // The caller puts the subvolume there. In replaced data, the subvolume is still inside the data.
            tree.dirs.push(TreeDirectory { path, node: FileStatus::of(&stat), files: Vec::new() });
            continue;
        }
        if stat.st_dev != device {
            return Err(elsewhere(&path));
        }
        let mut node = FileStatus::of(&stat);
        // The trailing `.` selects the directory itself, because the path before it is a link in /proc.
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

/// Returns the status of the file at `path`, or `None` if it is a directory. Only lap may change the directory that
/// contains it.
///
/// # Errors
/// The file does not exist, or cannot be read.
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

/// Returns the target of the link `name`, or `None` if it is no longer a link.
///
/// # Errors
/// The link cannot be read.
pub fn target(open: &Dir, name: &OsStr) -> Result<Option<OsString>> {
    match readlinkat(open, name, Vec::new()) {
        Ok(target) => Ok(Some(OsString::from_vec(target.into_bytes()))),
        Err(Errno::NOENT | Errno::INVAL) => Ok(None),
        Err(error) => Err(cannot("read", &open.path().join(name), error)),
    }
}

/// Returns the extended attributes of a file that is not a regular file. A link at the end of `path` is not followed.
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
