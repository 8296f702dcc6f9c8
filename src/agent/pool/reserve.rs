//! The reserve of the pool: files that take room while there is enough of it. When the pool is full, a snapshot or a restore gets this room, and so do
//! the containers that did not fill the pool.
//!
//! The files are allocated and never written. There are several, because btrfs does not give back a part of a file that was allocated as a whole.
//! On btrfs, data and metadata have their room apart, and a snapshot needs metadata: so each file has extended attributes, too, and each of
//! these fills about one block of metadata.

use std::{
    fs::{self, OpenOptions},
    io::ErrorKind,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use lap_base::error::{Kind, OrError, Result};
use lap_snapshots::{is_btrfs, volume};
use rustix::fs::{FallocateFlags, XattrFlags, fallocate, fsetxattr};

use super::{mount::path, room::PoolRoom};
use crate::wire::paths;

/// How many files the whole reserve has.
const PIECES: u64 = 8;
/// How many attributes each file has, and the bytes of each: in all 8 MiB of metadata, which is enough for some snapshots.
const ATTRIBUTES: usize = 64;
const ATTRIBUTE: [u8; 16_000] = [0; 16_000];

/// How many use the reserve. Two at a time may not change the files.
static USERS: Mutex<usize> = Mutex::new(0);

fn users() -> MutexGuard<'static, usize> {
    USERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The reserve is in use as long as this exists; then it is taken back.
#[derive(Debug)]
pub struct ReserveInUse(bool);

impl Drop for ReserveInUse {
    fn drop(&mut self) {
        if self.0 {
            *users() -= 1;
        }
    }
}

/// Gives the room of the reserve to what the agent does next, if the pool is almost full.
pub fn open() -> ReserveInUse {
    leave(0)
}

/// The same for what a client does, which may take long: some of the reserve stays for the agent's own work.
pub fn open_for_client() -> ReserveInUse {
    leave(PIECES / 4)
}

fn leave(pieces: u64) -> ReserveInUse {
    let mut users = users();
    let reserve = ReserveFiles { pool: Path::new(paths::POOL), directory: Path::new(paths::RESERVE) };
    if !reserve.room().is_ok_and(|room| room.is_low()) {
        return ReserveInUse(false);
    }
    // The work is tried all the same.
    if let Err(error) = reserve.shrink(pieces) {
        eprintln!("agent: {error}");
    }
    *users += 1;
    ReserveInUse(true)
}

/// Looks at the pool, and makes the reserve as large as it should be ([`PoolRoom::target`]). That the reserve cannot be changed is told apart: the
/// pool is looked at all the same.
///
/// # Errors
/// The pool cannot be looked at.
pub fn keep(frozen: bool) -> Result<(PoolRoom, Result<()>)> {
    let users = users();
    let reserve = ReserveFiles { pool: path()?, directory: Path::new(paths::RESERVE) };
    let room = reserve.room()?;
    if *users > 0 {
        return Ok((room, Ok(())));
    }
    match reserve.fit(room, frozen) {
        Ok(room) => Ok((room, Ok(()))),
        Err(error) => Ok((room, Err(error))),
    }
}

/// How many bytes of the whole reserve are not taken now. 0 where this cannot be known.
pub fn lacks() -> u64 {
    let reserve = ReserveFiles { pool: Path::new(paths::POOL), directory: Path::new(paths::RESERVE) };
    reserve.room().map_or(0, |room| room.whole().saturating_sub(room.reserve))
}

/// The reserve of a pool.
pub struct ReserveFiles<'a> {
    pub pool: &'a Path,
    pub directory: &'a Path,
}

impl ReserveFiles<'_> {
    /// The room of the pool now.
    ///
    /// # Errors
    /// The pool or a file cannot be looked at.
    pub fn room(&self) -> Result<PoolRoom> {
        let mut taken = 0;
        for number in 0..PIECES {
            taken += self.taken(number)?;
        }
        PoolRoom::of(self.pool, taken)
    }

    /// Makes the reserve as large as it should be.
    ///
    /// # Errors
    /// A file cannot be changed.
    pub fn fit(&self, room: PoolRoom, frozen: bool) -> Result<PoolRoom> {
        let (target, piece) = (room.target(frozen), room.whole() / PIECES);
        // Less than a file is no reason to change anything.
        if target.abs_diff(room.reserve) < piece {
            return Ok(room);
        }
        self.shrink(target / piece)?;
        self.grow(target / piece, piece)?;
        self.room()
    }

    /// Removes the files from this number on; their room can be used when this returns.
    ///
    /// # Errors
    /// One cannot be removed.
    pub fn shrink(&self, pieces: u64) -> Result<()> {
        let mut is_less = false;
        for number in pieces..PIECES {
            let file = self.file(number);
            match fs::remove_file(&file) {
                Ok(()) => is_less = true,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                error => error.or_error(Kind::Node, || format!("cannot remove `{}`", file.display()))?,
            }
        }
        // btrfs gives room that was freed to nobody before its next commit.
        if is_less { volume::sync(self.pool) } else { Ok(()) }
    }

    /// Makes the files below this number that are not there, or have another size than `piece`.
    fn grow(&self, pieces: u64, piece: u64) -> Result<()> {
        let is_btrfs = is_btrfs(self.pool)?;
        for number in 0..pieces {
            let taken = self.taken(number)?;
            if taken.abs_diff(piece) < piece / 2 {
                continue;
            }
            let file = self.file(number);
            match self.make(&file, piece, is_btrfs) {
                Ok(()) => {}
                // The room is used by now: the next look decides anew.
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    let _ = fs::remove_file(&file);
                    return Ok(());
                }
                error => error.or_error(Kind::Node, || format!("cannot make `{}`", file.display()))?,
            }
        }
        Ok(())
    }

    fn make(&self, file: &Path, piece: u64, is_btrfs: bool) -> std::io::Result<()> {
        fs::create_dir_all(self.directory)?;
        let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
        fallocate(&open, FallocateFlags::empty(), 0, piece)?;
        let attributes = if is_btrfs { ATTRIBUTES } else { 0 };
        let set = |number| fsetxattr(&open, format!("user.lap.{number}"), &ATTRIBUTE, XattrFlags::empty());
        (0..attributes).try_for_each(set).map_err(std::io::Error::from)
    }

    fn taken(&self, number: u64) -> Result<u64> {
        let file = self.file(number);
        match fs::symlink_metadata(&file) {
            Ok(meta) => Ok(meta.blocks() * 512),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error).or_error(Kind::Node, || format!("cannot look at `{}`", file.display())),
        }
    }

    fn file(&self, number: u64) -> PathBuf {
        self.directory.join(number.to_string())
    }
}
