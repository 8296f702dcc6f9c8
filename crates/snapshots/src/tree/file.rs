//! One file: its content and its attributes.

use std::{
    ffi::OsStr,
    fs::File,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

use lap_base::{
    beneath::{dir::Dir, reach},
    error::{Error, Kind, Result},
};
use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Timespec, Timestamps, Uid, chownat, copy_file_range, fchmod,
        fchown, fstat, ftruncate, futimens, ioctl_ficlone, makedev, mknodat, openat, seek, symlinkat, utimensat,
    },
    io::Errno,
};
use xattr::FileExt;

use super::read::{FileStatus, cannot};

/// The owner of new files, because the agent runs as root.
const ROOT: (u32, u32) = (0, 0);
/// The maximum size in bytes of one read.
const BUFFER_SIZE: usize = 8 << 20;

/// A regular file to copy.
pub struct FileToCopy<'a> {
    pub root: &'a Dir,
    /// The path below `root`.
    pub path: &'a Path,
    /// The expected status. It is an error if another file is in its place, and nothing is read then.
    pub node: &'a FileStatus,
}

/// Copies a file, with all its attributes, to `name` in the directory `to`. Calls `go_on` repeatedly while it reads the
/// content.
///
/// # Errors
/// The file does not exist, cannot be read or written, or `go_on` returns an error.
pub fn copy(source: &FileToCopy<'_>, to: BorrowedFd<'_>, name: &OsStr, go_on: &dyn Fn() -> Result<()>) -> Result<()> {
    let FileToCopy { root, path, node } = *source;
    let from = &root.path().join(path);
    let failed = |what: &'static str| move |error: Errno| cannot(what, from, error);
    let source = root.file(path)?.ok_or_else(|| cannot("open", from, Errno::NOENT))?;
    let is = fstat(&source).map_err(failed("look at"))?;
    if is.st_ino != node.inode || is.st_dev != root.stat()?.st_dev {
        return Err(Error::new(Kind::Node, format!("`{}` was replaced by another file", from.display())));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let copy = File::from(openat(to, name, flags, Mode::RUSR | Mode::WUSR).map_err(failed("make a copy of"))?);
    if node.size > 0 {
        match ioctl_ficlone(&copy, &source) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL | Errno::XDEV) => {
                content(from, &source, &copy, node.size, go_on)?;
            }
            Err(error) => return Err(cannot("copy", from, error)),
        }
    }
    // The order matters: a change of the owner removes mode bits, and an ACL is part of the mode.
    if node.owner != ROOT {
        let (user, group) = (Uid::from_raw(node.owner.0), Gid::from_raw(node.owner.1));
        fchown(&copy, Some(user), Some(group)).map_err(failed("set the owner of the copy of"))?;
    }
    let what = |error: std::io::Error| {
        Error::new(Kind::Node, format!("cannot copy the attributes of `{}`: {error}", from.display()))
    };
    match source.list_xattr() {
        Ok(names) => {
            for name in names {
                if let Some(value) = source.get_xattr(&name).map_err(what)? {
                    copy.set_xattr(&name, &value).map_err(what)?;
                }
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {}
        Err(error) => return Err(what(error)),
    }
    fchmod(&copy, Mode::from_raw_mode(node.mode)).map_err(failed("set the mode of the copy of"))?;
    futimens(&copy, &times(node)).map_err(failed("set the times of the copy of"))
}

/// Copies the content. Holes remain holes.
fn content(from: &Path, source: &File, copy: &File, size: u64, go_on: &dyn Fn() -> Result<()>) -> Result<()> {
    let failed = |error: Errno| cannot("copy", from, error);
    let mut at = 0;
    loop {
        let begins = match seek(source, SeekFrom::Data(at)) {
            Ok(begins) => begins,
            // The rest of the file is a hole.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(failed(error)),
        };
        let ends = seek(source, SeekFrom::Hole(begins)).map_err(failed)?;
        let (mut reads, mut writes) = (begins, begins);
        while reads < ends {
            go_on()?;
            let most = usize::try_from(ends - reads).unwrap_or(BUFFER_SIZE).min(BUFFER_SIZE);
            // The file has become shorter.
            if copy_file_range(source, Some(&mut reads), copy, Some(&mut writes), most).map_err(failed)? == 0 {
                return Ok(());
            }
        }
        at = ends;
    }
    ftruncate(copy, size).map_err(failed)
}

/// Makes a file that is neither a regular file nor a directory.
pub fn special(node: &FileStatus, to: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<()> {
    let failed = |error: Errno| cannot("make", path, error);
    match node.kind {
        FileType::Symlink => symlinkat(&node.target, to, name).map_err(failed)?,
        kind => {
            let device = makedev(rustix::fs::major(node.device), rustix::fs::minor(node.device));
            mknodat(to, name, kind, Mode::RUSR | Mode::WUSR, device).map_err(failed)?;
        }
    }
    rest(node, to, name, path)
}

/// Sets the owner, attributes, mode and times of an existing file that is not a regular file.
pub fn rest(node: &FileStatus, to: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<()> {
    let failed = |error: Errno| cannot("set owner, mode and times of", path, error);
    let (user, group) = (Uid::from_raw(node.owner.0), Gid::from_raw(node.owner.1));
    chownat(to.as_fd(), name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
    for (attribute, value) in &node.attributes {
        // By the open directory: a path may be longer than the kernel takes.
        xattr::set(reach(to).join(name), attribute, value).map_err(|error| {
            Error::new(Kind::Node, format!("cannot set the attributes of `{}`: {error}", path.display()))
        })?;
    }
    if node.kind != FileType::Symlink {
        rustix::fs::chmodat(to, name, Mode::from_raw_mode(node.mode), AtFlags::empty()).map_err(failed)?;
    }
    utimensat(to, name, &times(node), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)
}

/// Sets the times of the directory `to` to those of `from`.
pub fn same_times(from: &Dir, to: &Dir) -> Result<(), Errno> {
    futimens(to, &times(&FileStatus::of(&fstat(from)?)))
}

fn times(node: &FileStatus) -> Timestamps {
    let time = |(tv_sec, tv_nsec): (i64, i64)| Timespec { tv_sec, tv_nsec };
    Timestamps { last_access: time(node.read), last_modification: time(node.written) }
}
