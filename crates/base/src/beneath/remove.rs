//! Removal of a tree, with several threads.
//!
//! The removal uses open directories and no paths. So it removes nothing elsewhere, also if a container replaces a
//! directory at the same time. The use of stack and open files does not depend on the depth of the tree: a directory
//! deeper than [`DEPTH`] is first moved to the root of the tree.

use std::{
    ffi::{OsStr, OsString},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    thread,
};

use rustix::{
    fs::{AtFlags, Dir as Reader, FileType, RenameFlags, renameat_with, unlinkat},
    io::Errno,
};

use super::{
    dir::{DIRECTORY, Dir, open},
    stuck::Stuck,
};
use crate::error::Result;

/// The number of threads that remove files.
const THREADS: usize = 4;
/// The maximum number of open directories per thread.
const DEPTH: usize = 32;
/// How often a directory is emptied if a container adds files to it at the same time.
const TRIES: usize = 64;

impl Dir {
    /// Removes `name` and everything in it. Does nothing if `name` does not exist.
    ///
    /// # Errors
    /// A file cannot be removed or is a mount point, or a container adds files faster than they are removed.
    pub fn remove(&self, name: &OsStr) -> Result<()> {
        remove(self.as_fd(), name).map_err(|stuck| stuck.about(&self.path.join(name)))
    }
}

fn remove(above: BorrowedFd<'_>, name: &OsStr) -> Result<(), Stuck> {
    for _ in 0..TRIES {
        let refused = match unlinkat(above, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // For a directory, POSIX and Linux define different errors.
            Err(error @ (Errno::ISDIR | Errno::PERM)) => error,
            Err(error) => return Err(error.into()),
        };
        match open(above, Path::new(name), DIRECTORY) {
            Ok(tree) => empty(&tree)?,
            Err(Errno::NOTDIR | Errno::LOOP) if refused == Errno::PERM => return Err(Stuck::at(above, name, refused)),
            // Another file has taken the name. The next round removes it.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(error) => return Err(error.into()),
        }
        match unlinkat(above, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            Err(error) => return Err(Stuck::at(above, name, error)),
        }
    }
    Err(Errno::NOTEMPTY.into())
}

/// Removes the content of `tree`. The threads share the work at the first level that has several directories: each of
/// them is one unit.
fn empty(tree: &OwnedFd) -> Result<(), Stuck> {
    let mut here = tree.try_clone().map_err(|_| Errno::MFILE)?;
    loop {
        let dirs = directories(&here)?;
        match dirs.as_slice() {
            [] => break,
            [only] => match open(here.as_fd(), Path::new(only), DIRECTORY) {
                Ok(next) => here = next,
                Err(_) => break,
            },
            several => {
                all(&here, several)?;
                break;
            }
        }
    }
    clear(tree)
}

fn directories(here: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let mut dirs = Vec::new();
    for (name, kind) in entries(here)? {
        if kind == FileType::Directory {
            dirs.push(name);
        }
    }
    Ok(dirs)
}

fn all(above: &OwnedFd, dirs: &[OsString]) -> Result<(), Stuck> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), Stuck> {
        while let Some(dir) = dirs.get(next.fetch_add(1, Ordering::Relaxed)) {
            match open(above.as_fd(), Path::new(dir), DIRECTORY) {
                Ok(tree) => clear(&tree)?,
                // A second, single-threaded pass (`clear`) follows. It reports the error if it remains.
                Err(_) => continue,
            }
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(1, |n| n.get().min(THREADS));
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = |one: thread::ScopedJoinHandle<'_, Result<(), Stuck>>| one.join().unwrap_or(Err(Errno::IO.into()));
        all.into_iter().map(ended).collect::<Vec<_>>().into_iter().collect()
    })
}

/// A directory that is being emptied.
struct Level {
    open: OwnedFd,
    left: Entries,
    /// Its name in the directory above it.
    name: OsString,
}

impl Level {
    fn of(open: OwnedFd, name: OsString) -> Result<Self, Errno> {
        Ok(Self { left: entries(&open)?, open, name })
    }
}

/// Removes the content of `tree` in this thread.
fn clear(tree: &OwnedFd) -> Result<(), Stuck> {
    loop {
        let mut lifted = false;
        let mut levels = vec![Level::of(tree.try_clone().map_err(|_| Errno::MFILE)?, OsString::new())?];
        loop {
            let deep = levels.len() >= DEPTH;
            let Some(level) = levels.last_mut() else { break };
            let Some((name, kind)) = level.left.next() else {
                let name = std::mem::take(&mut level.name);
                levels.pop();
                if let Some(above) = levels.last() {
                    match unlinkat(&above.open, &name, AtFlags::REMOVEDIR) {
                        // A container added files to the directory. `remove` finds them in its next round.
                        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                        Err(error) => return Err(Stuck::at(above.open.as_fd(), &name, error)),
                    }
                }
                continue;
            };
            if kind != FileType::Directory {
                match unlinkat(&level.open, &name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => continue,
                    // It is a directory: the file system reports no kinds of files, or the file was replaced.
                    Err(Errno::ISDIR) => {}
                    Err(error) => return Err(Stuck::at(level.open.as_fd(), &name, error)),
                }
            }
            if deep {
                lifted |= lift(level, &name, tree)?;
                continue;
            }
            match open(level.open.as_fd(), Path::new(&name), DIRECTORY) {
                Ok(open) => levels.push(Level::of(open, name)?),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !lifted {
            return Ok(());
        }
    }
}

/// Moves the directory `name` of a deep level to the root of the tree, under an unused name. Returns `false` if `name`
/// does not exist.
fn lift(level: &Level, name: &OsStr, tree: &OwnedFd) -> Result<bool, Stuck> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let new = format!(".lap-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        match renameat_with(&level.open, name, tree, &new, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(true),
            Err(Errno::EXIST) => {}
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(Stuck::at(level.open.as_fd(), name, error)),
        }
    }
}

/// The names and kinds of files in a directory. It reads them from the kernel as needed.
struct Entries(Reader);

fn entries(open: &OwnedFd) -> Result<Entries, Errno> {
    Reader::read_from(open).map(Entries)
}

impl Iterator for Entries {
    type Item = (OsString, FileType);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // An entry that cannot be read remains, and so the removal of its directory fails with an error.
            let entry = self.0.next()?.ok()?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                return Some((name.to_owned(), entry.file_type()));
            }
        }
    }
}
