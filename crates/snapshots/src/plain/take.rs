//! Takes a snapshot in two passes. While all containers run, the first pass copies all changes since the last snapshot.
//! Then the containers are frozen, and the second pass reads all metadata again and copies the changes since the first
//! pass. The result is the state at the time of the freeze.

use std::{
    collections::HashMap,
    fs::{self, File},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use lap_base::{
    beneath::{dir::Dir, split},
    error::{Error, Kind, OrError, Result},
};
use nix::fcntl::Flock;
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, linkat, openat, renameat},
    io::Errno,
};

use super::known::{self, KnownFiles, Stamp, TrustedBefore};
use crate::{
    half::hold,
    id::Id,
    still::{STEPS, Still, Stood},
    tree::{self, At, FileSource, FileStatus, FileToCopy, FileTree, build, copy_file, read_tree},
    volume,
};

/// The maximum number of first passes, and the duration of a pass after which another one is useful.
const MAX_PASSES: u32 = 3;
const LONG_PASS: Duration = Duration::from_secs(1);

/// A snapshot in progress.
pub struct Shot<'a> {
    pool: &'a Path,
    /// The present data. Entries with one of the names `leave` at its top are ignored.
    data: Dir,
    leave: &'a [&'a str],
    /// The directory of the incomplete snapshot.
    half: PathBuf,
    /// The snapshot before this one, which is locked against removal, and its files.
    base: Option<Id>,
    _held: Option<Flock<File>>,
    known: KnownFiles,
    /// The stamps of the files that are copied already, by inode number.
    early: HashMap<u64, Stamp>,
    place: OwnedFd,
}

impl<'a> Shot<'a> {
    /// Starts a snapshot in the directory `half`: copies the changes while all containers run.
    ///
    /// # Errors
    /// The disk is full.
    pub fn begin(pool: &'a Path, half: &Path, leave: &'a [&'a str], still: &mut dyn Still) -> Result<Self> {
        let base = KnownFiles::read(pool).and_then(|(id, known)| Some((hold(pool, &id).ok()?, id, known)));
        let (held, base, known) =
            base.map_or((None, None, None), |(held, id, known)| (Some(held), Some(id), Some(known)));
        let early = half.join("early");
        let what = || format!("cannot make `{}`", early.display());
        fs::create_dir(&early).or_error(Kind::Node, what)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = openat(CWD, &early, flags, Mode::empty()).or_error(Kind::Node, what)?;
        let mut shot = Self {
            pool,
            data: Dir::open(&pool.join("data"))?,
            leave,
            half: half.to_owned(),
            base,
            _held: held,
            known: known.unwrap_or_default(),
            early: HashMap::new(),
            place,
        };
        still.at(STEPS[0]);
        for _ in 0..MAX_PASSES {
            let begun = Instant::now();
            let before = TrustedBefore::sync(pool)?;
            let tree = read_tree(&shot.data, leave)?;
            shot.fetch(&tree, Some(before), &|| Ok(()))?;
            if begun.elapsed() < LONG_PASS {
                break;
            }
        }
        Ok(shot)
    }

    /// Completes the snapshot: freezes the containers, and puts the state of that time into `half/data`. This directory
    /// gets its name when it is complete.
    ///
    /// # Errors
    /// The disk is full, or the freeze would take longer than permitted. The containers are unfrozen in every case.
    pub fn end(mut self, id: &Id, still: &mut dyn Still) -> Result<Stood> {
        still.at(STEPS[1]);
        let begun = Instant::now();
        let until = still.patience().map(|most| (begun + most, most));
        let copied = {
            let paused = Frozen(still);
            let copied = paused.0.pause().and_then(|()| {
                paused.0.at(STEPS[2]);
                self.moment(&|| in_time(until))
            });
            paused.0.at(STEPS[3]);
            // The containers are unfrozen before an error is reported.
            paused.0.resume()?;
            copied
        };
        let micros = begun.elapsed().as_micros() as u64;
        let (tree, before, (files, bytes)) = copied?;
        still.at(STEPS[4]);
        let whole = self.half.join("half");
        if let Err(error) = build(&tree, &whole, &self) {
            // If another program changed the last snapshot, the record may be wrong. Without the record, the next
            // snapshot copies everything.
            if let Some(base) = &self.base {
                known::forget(self.pool, base);
            }
            return Err(error);
        }
        // The content must be on the disk before it gets its name.
        volume::sync(self.pool)?;
        known::write(self.pool, id, &tree, before)?;
        let data = self.half.join("data");
        fs::rename(&whole, &data).or_error(Kind::Node, || format!("cannot rename `{}`", whole.display()))?;
        let early = self.half.join("early");
        tree::remove(&early)?;
        Ok(Stood { micros, files, bytes })
    }

    /// Reads the present tree and copies each file that has no copy yet.
    fn moment(&mut self, go_on: &dyn Fn() -> Result<()>) -> Result<(FileTree, TrustedBefore, (u64, u64))> {
        let before = TrustedBefore::sync(self.pool)?;
        go_on()?;
        let tree = read_tree(&self.data, self.leave)?;
        go_on()?;
        let copied = self.fetch(&tree, None, go_on)?;
        Ok((tree, before, copied))
    }

    /// Copies every file without a copy. With `before`, copies only files whose stamp can be trusted, and ignores files
    /// that are removed at the same time. Returns the number and the size of the copied files.
    fn fetch(
        &mut self,
        tree: &FileTree,
        before: Option<TrustedBefore>,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<(u64, u64)> {
        let (mut files, mut bytes) = (0, 0);
        for dir in &tree.dirs {
            for (name, node) in dir.files.iter().filter(|(_, node)| node.is_file()) {
                let stamp = Stamp::from(node);
                let is_there =
                    self.early.get(&node.inode) == Some(&stamp) || self.known.copy_of(node.inode, &stamp).is_some();
                if is_there || before.is_some_and(|before| !before.trusts(&stamp)) {
                    continue;
                }
                go_on()?;
                let copy = early(node);
                let (path, place) = (dir.path.join(name), self.half.join("early").join(&copy));
                if self.early.remove(&node.inode).is_some() || before.is_none() {
                    remove(&place)?;
                }
                let source = FileToCopy { root: &self.data, path: &path, node };
                match copy_file(&source, self.place.as_fd(), copy.as_ref(), go_on) {
                    Ok(()) => drop(self.early.insert(node.inode, stamp)),
                    // The file was removed or replaced at the same time. The second pass reads it again.
                    Err(_) if before.is_some() && !self.is_still(&path, node) => remove(&place)?,
                    Err(error) => return Err(error),
                }
                files += 1;
                bytes += node.size;
            }
        }
        Ok((files, bytes))
    }

    fn is_still(&self, path: &Path, node: &FileStatus) -> bool {
        self.data.metadata(path).is_ok_and(|found| found.is_some_and(|found| found.st_ino == node.inode))
    }
}

impl FileSource for Shot<'_> {
    fn put(&self, at: &At<'_>, node: &FileStatus) -> Result<()> {
        let failed = |error: Errno| {
            let name = at.dir.path.join(at.name).to_string_lossy().escape_debug().to_string();
            Error::new(Kind::Node, format!("cannot put `{name}` into a snapshot: {error}"))
        };
        let Some(copy) = self.known.copy_of(node.inode, &Stamp::from(node)) else {
            return renameat(&self.place, early(node), at.to, at.name).map_err(failed);
        };
        let linked = match linkat(CWD, &copy, at.to, at.name, AtFlags::empty()) {
            Err(Errno::NAMETOOLONG) => {
                let (above, name) = split(copy.strip_prefix(self.known.data()).unwrap_or(&copy))?;
                linkat(&Dir::open(self.known.data())?.need(above)?, name, at.to, at.name, AtFlags::empty())
            }
            linked => linked,
        };
        match linked {
            Ok(()) => Ok(()),
            // The file has the maximum number of hard links.
            Err(Errno::MLINK) => {
                let root = Dir::open(copy.parent().unwrap_or(&copy))?;
                let name = Path::new(copy.file_name().unwrap_or_default());
                // The node has the inode number of the snapshot's file, because this file is the source of the copy.
                let node = match tree::one(&copy)? {
                    Some(there) => FileStatus { inode: there.inode, ..node.clone() },
                    None => return Err(failed(Errno::ISDIR)),
                };
                copy_file(&FileToCopy { root: &root, path: name, node: &node }, at.to, at.name, &|| Ok(()))
            }
            Err(error) => Err(failed(error)),
        }
    }
}

/// Unfreezes the containers when it is dropped, whatever happens before that.
struct Frozen<'a>(&'a mut dyn Still);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = self.0.resume();
    }
}

fn in_time(until: Option<(Instant, Duration)>) -> Result<()> {
    let Some((_, most)) = until.filter(|(until, _)| Instant::now() > *until) else { return Ok(()) };
    let most = most.as_secs_f64() * 1e3;
    Err(Error::new(
        Kind::Refused,
        format!("no snapshot was taken: containers would be frozen for longer than {most:.1} ms"),
    )
    .hint("set a larger `--max-pause`, or try again when containers write less"))
}

/// Returns the name of the copy of a file.
fn early(node: &FileStatus) -> String {
    node.inode.to_string()
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::new(Kind::Node, format!("cannot remove `{}`: {error}", path.display())))
        }
        _ => Ok(()),
    }
}
