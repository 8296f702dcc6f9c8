//! Removes a tree, several parts of it at a time.
//!
//! No path is used, so nothing elsewhere is removed, whatever a container puts in the place of a directory meanwhile. Neither the stack nor
//! the number of open files depends on how deep the tree is: what lies deeper than [`DEPTH`] is first moved up to the tree's root.

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

/// As many as unlink at the same time.
const THREADS: usize = 4;
/// As many directories of one tree are open at the same time.
const DEPTH: usize = 32;
/// How often a directory is emptied in which something appears again.
const TRIES: usize = 64;

impl Dir {
    /// Removes `name` with all that is in it; nothing happens where there is nothing.
    ///
    /// # Errors
    /// Something in it cannot be removed, is another mount, or comes again and again.
    pub fn remove(&self, name: &OsStr) -> Result<()> {
        remove(self.as_fd(), name).map_err(|stuck| stuck.about(&self.path.join(name)))
    }
}

fn remove(above: BorrowedFd<'_>, name: &OsStr) -> Result<(), Stuck> {
    for _ in 0..TRIES {
        let refused = match unlinkat(above, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // Of a directory, POSIX and Linux say different things.
            Err(error @ (Errno::ISDIR | Errno::PERM)) => error,
            Err(error) => return Err(error.into()),
        };
        match open(above, Path::new(name), DIRECTORY) {
            Ok(tree) => empty(&tree)?,
            Err(Errno::NOTDIR | Errno::LOOP) if refused == Errno::PERM => return Err(Stuck::at(above, name, refused)),
            // It is something else by now.
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

/// Removes what is in `tree`. Each directory in the first one that holds several is one thread's.
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
                // The walk after this one says what is the matter.
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
    /// In the one above it.
    name: OsString,
}

impl Level {
    fn of(open: OwnedFd, name: OsString) -> Result<Self, Errno> {
        Ok(Self { left: entries(&open)?, open, name })
    }
}

/// Removes what is in `tree`, by one thread.
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
                        // What came again is met when the whole is removed.
                        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                        Err(error) => return Err(Stuck::at(above.open.as_fd(), &name, error)),
                    }
                }
                continue;
            };
            if kind != FileType::Directory {
                match unlinkat(&level.open, &name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => continue,
                    // The file system did not say that it is a directory, or it is one by now.
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

/// Moves the directory `name` of a deep level to the root of the tree, under a name that nothing has.
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

/// Names and kinds of what is in a directory, as they are read.
struct Entries(Reader);

fn entries(open: &OwnedFd) -> Result<Entries, Errno> {
    Reader::read_from(open).map(Entries)
}

impl Iterator for Entries {
    type Item = (OsString, FileType);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // What cannot be read is met when its directory is removed.
            let entry = self.0.next()?.ok()?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                return Some((name.to_owned(), entry.file_type()));
            }
        }
    }
}
