//! Removes a directory with all that is in it, several parts of it at a time.

use std::{
    fs,
    io::{self, ErrorKind},
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::error::{Kind, OrError, Result};

/// As many as unlink at the same time.
const THREADS: usize = 4;

/// Removes it; it is no error if it is not there.
///
/// # Errors
/// Something in it cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    match inside(path).and_then(|()| fs::remove_dir_all(path)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.or_error(Kind::Node, || format!("cannot remove `{}`", path.display())),
    }
}

/// Most of it: each directory in the first one that holds several is one thread's. Whatever somebody puts in the place of a
/// directory meanwhile, nothing elsewhere is removed: each is reached through the open one above it.
fn inside(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |path: &Path| -> io::Result<OwnedFd> { Ok(openat(CWD, path, flags, Mode::empty())?) };
    let mut here = open(path)?;
    loop {
        let below = PathBuf::from(format!("/proc/self/fd/{}", here.as_raw_fd()));
        let mut dirs = Vec::new();
        for entry in fs::read_dir(&below)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                dirs.push(below.join(entry.file_name()));
            }
        }
        match dirs.as_slice() {
            [] => return Ok(()),
            [only] => here = open(only)?,
            several => return all(several),
        }
    }
}

fn all(dirs: &[PathBuf]) -> io::Result<()> {
    let next = AtomicUsize::new(0);
    let work = || -> io::Result<()> {
        while let Some(dir) = dirs.get(next.fetch_add(1, Ordering::Relaxed)) {
            fs::remove_dir_all(dir)?;
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(1, |n| n.get().min(THREADS));
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = |one: thread::ScopedJoinHandle<'_, io::Result<()>>| {
            one.join().unwrap_or_else(|_| Err(io::Error::other("a thread ended with a panic")))
        };
        all.into_iter().map(ended).collect::<Vec<_>>().into_iter().collect()
    })
}
