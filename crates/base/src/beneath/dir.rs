//! Open directories.

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
/// A place in the tree, opened without any effect: neither a FIFO nor a device notices.
const PLACE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const HOW: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// A longer path is walked in pieces. The kernel's own limit, PATH_MAX, is 4096 with the zero at the end.
const LONGEST: usize = 4000;

/// An open directory. It stays the same directory, whatever has its name later.
#[derive(Debug)]
pub struct Dir {
    pub(super) open: OwnedFd,
    /// For messages.
    pub(super) path: PathBuf,
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.open.as_fd()
    }
}

impl Dir {
    /// Opens a directory whose path lap alone changes.
    ///
    /// # Errors
    /// There is no such directory.
    pub fn open(path: &Path) -> Result<Self> {
        Self::find(path)?.ok_or_else(|| cannot("open", path, Errno::NOENT))
    }

    /// [`Self::open`]; `None`: there is nothing at `path`.
    ///
    /// # Errors
    /// It is no directory, or cannot be opened.
    pub fn find(path: &Path) -> Result<Option<Self>> {
        match openat(CWD, path, DIRECTORY, Mode::empty()) {
            Ok(open) => Ok(Some(Self { open, path: path.to_owned() })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(cannot("open", path, error)),
        }
    }

    /// Opens the directory `below`; `None`: there is nothing there.
    ///
    /// # Errors
    /// A part of the path is a link or another mount, or it is no directory.
    pub fn dir(&self, below: &Path) -> Result<Option<Self>> {
        match open(self.as_fd(), below, DIRECTORY) {
            Ok(open) => Ok(Some(Self { open, path: self.path.join(below) })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(cannot("open", &self.path.join(below), error)),
        }
    }

    /// [`Self::dir`], of one that was a directory when it was looked at; `None`: it is gone, or something else has its name by now.
    ///
    /// # Errors
    /// It is another mount, or cannot be opened.
    pub fn still_dir(&self, below: &Path) -> Result<Option<Self>> {
        match open(self.as_fd(), below, DIRECTORY) {
            Ok(open) => Ok(Some(Self { open, path: self.path.join(below) })),
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(cannot("open", &self.path.join(below), error)),
        }
    }

    /// [`Self::dir`], of one that must be there.
    ///
    /// # Errors
    /// As [`Self::dir`].
    pub fn need(&self, below: &Path) -> Result<Self> {
        self.dir(below)?.ok_or_else(|| cannot("open", &self.path.join(below), Errno::NOENT))
    }

    /// What the file system knows of `below`, of whatever kind it is; of a link, the link itself.
    ///
    /// # Errors
    /// A part of the path above it is a link, or it cannot be looked at.
    pub fn metadata(&self, below: &Path) -> Result<Option<Stat>> {
        let found = match self.open_path(below) {
            Err(Errno::NOENT) => return Ok(None),
            found => found.and_then(|place| fstat(&place)),
        };
        found.map(Some).map_err(|error| cannot("look at", &self.path.join(below), error))
    }

    /// Opens `below` as a place only (`O_PATH`, open(2)): this has no effect on what is there.
    ///
    /// # Errors
    /// There is nothing, or a link or `..` is on the way.
    pub fn open_path(&self, below: &Path) -> Result<OwnedFd, Errno> {
        open(self.as_fd(), below, PLACE)
    }

    /// What the file system knows of this directory.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn stat(&self) -> Result<Stat> {
        fstat(&self.open).map_err(|error| cannot("look at", &self.path, error))
    }

    /// A path by which another program, or a call that takes no descriptor, reaches this very directory.
    pub fn reach(&self) -> PathBuf {
        reach(self.as_fd())
    }

    /// Where it was when it was opened, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// [`Dir::reach`] of any open file.
pub fn reach(open: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), open.as_raw_fd()))
}

/// `path` below `root` with these flags: no part of it is a link, leads out of `root`, or is another mount.
pub(super) fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    // A path with `..` has no meaning while others move directories.
    if path.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(Errno::XDEV);
    }
    if path.as_os_str().len() <= LONGEST {
        return one(root, path, flags);
    }
    // A container may make directories deeper than any path that the kernel takes: such a path is walked in pieces.
    let (mut here, mut piece) = (None::<OwnedFd>, PathBuf::new());
    for part in path.components() {
        if piece.as_os_str().len() + part.as_os_str().len() > LONGEST {
            let root = here.as_ref().map_or(root, AsFd::as_fd);
            here = Some(one(root, &piece, PLACE | OFlags::DIRECTORY)?);
            piece = PathBuf::new();
        }
        piece.push(part);
    }
    one(here.as_ref().map_or(root, AsFd::as_fd), &piece, flags)
}

fn one(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    openat2(root, path, flags, Mode::empty(), HOW)
}

/// A path of any bytes as one line.
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
