//! An open directory below which container data is reached.

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2},
    io::Errno,
};

use crate::error::{Error, Kind, Result};

pub(super) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Opens a file without any effect on it: an `O_PATH` descriptor neither blocks on a FIFO nor activates a device.
const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const RESOLVE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// The maximum length of a path in one call. A longer path is opened in pieces. The limit of the kernel, PATH_MAX, is
/// 4096 with the final zero byte.
const LONGEST: usize = 4000;

/// An open directory. It remains the same directory when a container renames it or gives its name to another file.
#[derive(Debug)]
pub struct Dir {
    pub(super) open: OwnedFd,
    /// For messages only. The path may have changed since the directory was opened.
    pub(super) path: PathBuf,
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.open.as_fd()
    }
}

impl Dir {
    /// Opens the directory at `path`. No container may be able to change this path: only its last part is checked for a
    /// link.
    ///
    /// # Errors
    /// The directory does not exist, is not a directory, or cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        Self::find(path)?.ok_or_else(|| cannot("open", path, Errno::NOENT))
    }

    /// Opens a directory as [`Self::open`] does. Returns `None` if `path` does not exist.
    ///
    /// # Errors
    /// `path` is not a directory, or cannot be opened.
    pub fn find(path: &Path) -> Result<Option<Self>> {
        match openat(CWD, path, DIRECTORY, Mode::empty()) {
            Ok(open) => Ok(Some(Self { open, path: path.to_owned() })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(cannot("open", path, error)),
        }
    }

    /// Opens the directory `below`, a path relative to this directory. Returns `None` if it does not exist.
    ///
    /// # Errors
    /// A part of the path is a symbolic link or a mount point, or `below` is not a directory.
    pub fn dir(&self, below: &Path) -> Result<Option<Self>> {
        match open(self.as_fd(), below, DIRECTORY) {
            Ok(open) => Ok(Some(Self { open, path: self.path.join(below) })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(cannot("open", &self.path.join(below), error)),
        }
    }

    /// Opens a directory that a listing has just shown. Returns `None` if it no longer exists, or if another kind of
    /// file has its name now.
    ///
    /// # Errors
    /// It is a mount point, or cannot be opened.
    pub fn still_dir(&self, below: &Path) -> Result<Option<Self>> {
        match open(self.as_fd(), below, DIRECTORY) {
            Ok(open) => Ok(Some(Self { open, path: self.path.join(below) })),
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(cannot("open", &self.path.join(below), error)),
        }
    }

    /// Opens the directory `below`, which must exist.
    ///
    /// # Errors
    /// The same as [`Self::dir`], and the directory does not exist.
    pub fn need(&self, below: &Path) -> Result<Self> {
        self.dir(below)?.ok_or_else(|| cannot("open", &self.path.join(below), Errno::NOENT))
    }

    /// Returns the metadata of `below`, whatever kind of file it is. For a symbolic link, this is the metadata of the
    /// link itself. Returns `None` if `below` does not exist.
    ///
    /// # Errors
    /// A part of the path above `below` is a link, or the metadata cannot be read.
    pub fn metadata(&self, below: &Path) -> Result<Option<Stat>> {
        let found = match self.open_path(below) {
            Err(Errno::NOENT) => return Ok(None),
            found => found.and_then(|place| fstat(&place)),
        };
        found.map(Some).map_err(|error| cannot("look at", &self.path.join(below), error))
    }

    /// Opens `below` with `O_PATH` (open(2)). This has no effect on the file.
    ///
    /// # Errors
    /// `below` does not exist, or its path contains a link, a mount point or `..`.
    pub fn open_path(&self, below: &Path) -> Result<OwnedFd, Errno> {
        open(self.as_fd(), below, PATH_ONLY)
    }

    /// Returns the metadata of this directory.
    ///
    /// # Errors
    /// The metadata cannot be read.
    pub fn stat(&self) -> Result<Stat> {
        fstat(&self.open).map_err(|error| cannot("look at", &self.path, error))
    }

    /// Returns a path below `/proc` that leads to this open directory, for another program or for a call that takes no
    /// descriptor.
    pub fn reach(&self) -> PathBuf {
        reach(self.as_fd())
    }

    /// Returns the path with which the directory was opened. Use it in messages only.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Returns a path below `/proc` that leads to the open file `open`. It is valid while this process keeps the file open.
pub fn reach(open: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), open.as_raw_fd()))
}

/// Opens `path` below `root` with openat2(2). Fails if a part of `path` is a link, leads out of `root`, or is a mount
/// point.
pub(super) fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    // While a container moves directories, `..` can lead anywhere.
    if path.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(Errno::XDEV);
    }
    if path.as_os_str().len() <= LONGEST {
        return one(root, path, flags);
    }
    // A container may make directories that are deeper than the longest path of the kernel. Such a path is opened in
    // pieces.
    let (mut here, mut piece) = (None::<OwnedFd>, PathBuf::new());
    for part in path.components() {
        if piece.as_os_str().len() + part.as_os_str().len() > LONGEST {
            let root = here.as_ref().map_or(root, AsFd::as_fd);
            here = Some(one(root, &piece, PATH_ONLY | OFlags::DIRECTORY)?);
            piece = PathBuf::new();
        }
        piece.push(part);
    }
    one(here.as_ref().map_or(root, AsFd::as_fd), &piece, flags)
}

fn one(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    openat2(root, path, flags, Mode::empty(), RESOLVE)
}

/// Returns `path` on one line, with control characters escaped.
pub(super) fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

pub(super) fn cannot(what: &str, path: &Path, error: Errno) -> Error {
    let path = shown(path);
    match error {
        Errno::LOOP => {
            Error::new(Kind::Refused, format!("cannot {what} `{path}`: a part of the path is a symbolic link")).hint(
                "lap does not follow links in the data of a container: replace the link by the file or the directory",
            )
        }
        Errno::XDEV => {
            Error::new(Kind::Refused, format!("cannot {what} `{path}`: it is in another place, or in another mount"))
        }
        Errno::NOTDIR => {
            Error::new(Kind::Refused, format!("cannot {what} `{path}`: a part of the path is not a directory"))
        }
        _ => Error::new(Kind::Node, format!("cannot {what} `{path}`: {error}")),
    }
}
