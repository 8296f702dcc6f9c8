//! Makes a copy of a tree.

use std::{
    collections::HashMap,
    ffi::OsStr,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use lap_base::{
    beneath::Dir,
    error::{Error, Kind, Result},
};
use rustix::fs::{AtFlags, CWD, Mode, linkat, mkdirat};

use super::{
    file,
    read::{FileStatus, FileTree, TreeDirectory, cannot},
};

/// The number of threads. The file system does most of the work, and handles at most two operations at once.
const THREADS: usize = 4;

/// The destination of a file.
pub struct At<'a> {
    /// The directory in the tree.
    pub dir: &'a TreeDirectory,
    pub name: &'a OsStr,
    /// The new directory.
    pub to: BorrowedFd<'a>,
}

/// The source of regular files. Several threads call it at the same time.
pub trait FileSource: Sync {
    /// Puts a file in its place, with all its attributes.
    ///
    /// # Errors
    /// The file cannot be read or written.
    fn put(&self, at: &At<'_>, node: &FileStatus) -> Result<()>;
}

/// Makes the copy of `tree` at `to`, which must not exist.
///
/// # Errors
/// A file cannot be made. Files that were made before remain.
pub fn build(tree: &FileTree, to: &Path, files: &impl FileSource) -> Result<()> {
    mkdirat(CWD, to, Mode::RWXU).map_err(|error| cannot("make", to, error))?;
    let root = Dir::open(to)?;
    for dir in &tree.dirs {
        let Some((above, name)) = place(&dir.path) else { continue };
        let made = mkdirat(&root.need(above)?, name, Mode::RWXU);
        made.map_err(|error| cannot("make", &to.join(&dir.path), error))?;
    }
    // The number of links of each inode inside the tree. Links outside do not matter.
    let mut names: HashMap<u64, u32> = HashMap::new();
    for (_, node) in tree.dirs.iter().flat_map(|dir| &dir.files).filter(|(_, node)| node.links > 1) {
        *names.entry(node.inode).or_default() += 1;
    }
    let is_shared = |node: &FileStatus| node.links > 1 && names.get(&node.inode).is_some_and(|count| *count > 1);
    alone(tree, &root, files, &is_shared)?;
    let mut first: HashMap<u64, (&Path, &OsStr)> = HashMap::new();
    for dir in &tree.dirs {
        if !dir.files.iter().any(|(_, node)| is_shared(node)) {
            continue;
        }
        let open = root.need(&dir.path)?;
        for (name, node) in dir.files.iter().filter(|(_, node)| is_shared(node)) {
            match first.get(&node.inode) {
                Some((path, first)) => linkat(&root.need(path)?, *first, &open, name, AtFlags::empty())
                    .map_err(|error| cannot("make the link", &to.join(&dir.path).join(name), error))?,
                None => {
                    one(&At { dir, name, to: open.as_fd() }, node, files)?;
                    first.insert(node.inode, (&dir.path, name));
                }
            }
        }
    }
    // Children come first, because making a file in a directory changes the directory's times.
    for dir in tree.dirs.iter().rev() {
        // The directory itself has a name below its own descriptor.
        let open = root.need(&dir.path)?;
        file::rest(&dir.node, open.as_fd(), OsStr::new("."), open.path())?;
    }
    Ok(())
}

/// Makes all files with one name, with several threads. One thread handles a directory.
fn alone(
    tree: &FileTree,
    root: &Dir,
    files: &impl FileSource,
    is_shared: &(impl Fn(&FileStatus) -> bool + Sync),
) -> Result<()> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || -> Result<()> {
        while let Some(dir) = tree.dirs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if dir.files.is_empty() {
                continue;
            }
            let open = root.need(&dir.path)?;
            for (name, node) in dir.files.iter().filter(|(_, node)| !is_shared(node)) {
                if failed.load(Ordering::Relaxed) {
                    return Ok(());
                }
                one(&At { dir, name, to: open.as_fd() }, node, files)
                    .inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
            }
        }
        Ok(())
    };
    let threads = thread::available_parallelism().map_or(1, |n| n.get().min(THREADS));
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = |one: thread::ScopedJoinHandle<'_, Result<()>>| {
            one.join().unwrap_or_else(|_| Err(Error::new(Kind::Other, "a copying thread ended with a panic")))
        };
        all.into_iter().map(ended).collect::<Vec<_>>().into_iter().collect()
    })
}

fn one(at: &At<'_>, node: &FileStatus, files: &impl FileSource) -> Result<()> {
    if node.is_file() {
        return files.put(at, node);
    }
    file::special(node, at.to, at.name, &at.dir.path.join(at.name))
}

/// Returns the directory and the last part of a path, or `None` for the root of the tree.
fn place(path: &Path) -> Option<(&Path, &OsStr)> {
    Some((path.parent()?, path.file_name()?))
}
