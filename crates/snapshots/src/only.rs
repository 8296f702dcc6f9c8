//! Restores a part of the data, a directory of a container or a single file, and changes nothing else. The part is
//! copied (with reflinks, if the file system has them) while all containers run. Then it is exchanged while only its
//! containers are stopped. The replaced data becomes a snapshot. Creating it takes as long as removing twice as many
//! files, but no container waits for it.
//!
//! ```text
//! data/.lap-restore/<n>      the prepared copy; after the switch: the data before it
//! state/restore-only.json    the record of a restore in progress
//! ```

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path, PathBuf},
    thread,
};

use lap_base::{
    beneath::{self, dir::Dir},
    durable::{remove_file, write_file},
    error::{Error, Kind, OrError, Result},
};
use rustix::fs::FileType;

use serde::{Deserialize, Serialize};

use super::{
    filesystem::is_btrfs,
    half::{drop_half, half},
    id::Id,
    meta::{Meta, Reason, data, directory},
    nested::{
        self,
        list::{self, Nested},
    },
    order,
    plain::Shot,
    restore::{RestoreStep, World, pending},
    take::{begin, complete, copy_present, described, finish, free_id, is_whole},
    tree::{self, remove},
    volume,
};

const RECORD: &str = "restore-only.json";
const BESIDE: &str = ".lap-restore";

/// A requested restore of a part.
#[derive(Clone, Debug)]
pub struct Only<'a> {
    pub pool: &'a Path,
    pub state: &'a Path,
    pub id: &'a Id,
    /// The files and directories, as paths below the data.
    pub paths: &'a [String],
    /// The containers that are stopped during the switch, if they run.
    pub containers: &'a [String],
    /// The time in Unix seconds.
    pub at: i64,
    pub by: &'a str,
    pub current: Option<serde_json::Value>,
    /// The id, reason and note of the snapshot of the replaced data. `None` selects the defaults.
    pub kept: Option<(Id, Reason, String)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct PartRecord {
    id: Id,
    kept: Meta,
    /// The number of the prepared copy of each path. `None` means that the path is not in the snapshot, so it is
    /// removed. An empty map means that nothing is prepared.
    new: BTreeMap<String, Option<u64>>,
    /// The containers that are stopped and started again.
    stopped: Vec<String>,
    /// Whether all parts are in place. From then on, they belong to the containers again.
    #[serde(default)]
    switched: bool,
}

/// The work that remains when the containers run again: the replaced data becomes a snapshot, and its copy is removed.
#[derive(Debug)]
#[must_use = "the restore is not complete until this is done"]
pub struct Rest {
    pool: PathBuf,
    state: PathBuf,
    record: PartRecord,
}

impl Rest {
    /// Does the remaining work.
    ///
    /// # Errors
    /// It cannot be done now. [`recover`] does it later.
    pub fn finish(self, world: &mut impl World) -> Result<()> {
        finish_rest(&self.pool, &self.state, &self.record, world)
    }
}

impl Only<'_> {
    /// Runs the whole restore. Returns the snapshot of the replaced data.
    ///
    /// # Errors
    /// Before the switch, nothing has changed. After it, [`recover`] completes the restore.
    pub fn run(&self, world: &mut impl World) -> Result<Meta> {
        let (kept, rest) = self.until_started(world)?;
        rest.map_or(Ok(()), |rest| rest.finish(world))?;
        Ok(kept)
    }

    /// Runs the restore until the containers run again. Returns the future snapshot of the replaced data, and the
    /// remaining work.
    ///
    /// # Errors
    /// The same as [`Self::run`].
    pub fn until_started(&self, world: &mut impl World) -> Result<(Meta, Option<Rest>)> {
        let Self { pool, state, id, paths, containers, at, by, current, kept } = self;
        let Some(held) = described(pool, id).map(|meta| meta.nested) else {
            return Err(
                Error::new(Kind::Usage, format!("there is no snapshot `{id}`")).hint("`lap snapshot list` shows them")
            );
        };
        let from = data(pool, id);
        for path in *paths {
            check(path)?;
            check_subvolume(pool, path, &held)?;
            let (then, now) = (Dir::open(&from)?, Dir::open(&pool.join("data"))?);
            let gone = || {
                Error::new(Kind::Usage, format!("the directory of `{path}` no longer exists"))
                    .hint("restore the directory")
            };
            // The target of a link does not belong to the container and must not be replaced.
            let now_above = above(&now, path).map_err(|_| gone())?;
            let (is_then, is_now) = (number_of(&then, path)?.is_some(), number_of(&now, path)?.is_some());
            if !is_then && !is_now {
                return Err(Error::new(Kind::Usage, format!("neither {id} nor the present data contains `{path}`")));
            }
            if now_above.is_none() {
                return Err(gone());
            }
        }
        let (name, reason, note) = kept.clone().unwrap_or_else(|| {
            let note = format!("before the restore of {} from {id}", paths.join(", "));
            (free_id(pool, *at), Reason::Replaced, note)
        });
        let order = Some(order::next(pool, &name)?);
        let kept = Meta {
            id: name,
            at: *at,
            reason,
            note: Some(note),
            by: (*by).to_owned(),
            current: current.clone(),
            pause: None,
            order,
            nested: Nested::default(),
        };
        if state.join(RECORD).exists() || beside(pool).exists() {
            return Err(pending());
        }
        let stopped = world.running()?.into_iter().filter(|name| containers.contains(name)).collect();
        let (id, new) = ((*id).clone(), BTreeMap::new());
        let mut record = PartRecord { id, kept: kept.clone(), new, stopped, switched: false };
        world.step(RestoreStep::Prepare);
        write(state, &record)?;
        if let Err(error) = self.before_the_switch(&from, &held, &mut record, world) {
            return match recover(pool, state, world) {
                // The failure came after the point at which recovery completes the restore.
                Ok(_) if is_whole(pool, &kept.id) => Ok((record.kept, None)),
                Ok(_) => Err(error),
                Err(also) => Err(error.hint(format!("and then: {also}"))),
            };
        }
        start(&record, world)?;
        Ok((record.kept.clone(), Some(Rest { pool: pool.to_path_buf(), state: state.to_path_buf(), record })))
    }

    fn before_the_switch(
        &self,
        from: &Path,
        held: &Nested,
        record: &mut PartRecord,
        world: &mut impl World,
    ) -> Result<()> {
        let Self { pool, state, paths, .. } = self;
        let beside = beside(pool);
        fs::create_dir(&beside).or_error(Kind::Node, || format!("cannot make `{}`", beside.display()))?;
        let half = begin(pool, &record.kept.id)?;
        let shot = if is_btrfs(pool)? { None } else { Some(Shot::begin(pool, &half, &[BESIDE], world)?) };
        let mut new: BTreeMap<String, Option<u64>> = paths.iter().map(|path| (path.clone(), None)).collect();
        let (then, copies) = (Dir::open(from)?, Dir::open(&beside)?);
        for (index, (path, found)) in new.iter_mut().enumerate() {
            let index = index.to_string();
            if number_of(&then, path)?.is_some() {
                copy(pool, record, held, path, &beside.join(&index))?;
                *found = number_of(&copies, &index)?;
            }
        }
        record.new = new;
        // The disk is synchronized now, because later the stopped containers would wait for it.
        volume::sync(pool)?;
        write(state, record)?;
        world.step(RestoreStep::Stop);
        world.stop(&record.stopped)?;
        world.step(RestoreStep::Switch);
        match shot {
            Some(shot) => drop(shot.end(&record.kept.id, world)?),
            // The snapshot is writable at first. The copies in it are removed later, when no container waits.
            None => {
                record.kept.nested = copy_present(pool, &half, false, Some(BESIDE))?;
                // As soon as a part has moved, the subvolumes are no longer in their places.
                if !record.kept.nested.is_empty() {
                    write(state, record)?;
                }
            }
        }
        switch(pool, state, record)
    }
}

/// Checks that `path` is a path below the data.
fn check(path: &str) -> Result<()> {
    let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if inside && !path.is_empty() && !path.starts_with(BESIDE) {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, format!("`{path}` is not a path below /data: write e.g. `git/config`")))
}

/// A part of a container's subvolume cannot be exchanged with a copy outside of it.
fn check_subvolume(pool: &Path, path: &str, held: &Nested) -> Result<()> {
    let around = |now: &Path| nested::is_inside(&pool.join("data"), now);
    let then = held.kept.iter().find(|kept| Path::new(path).starts_with(kept) && path != kept.as_str());
    if then.is_none() && !around(Path::new(path)) {
        return Ok(());
    }
    let container = path.split('/').next().unwrap_or(path);
    Err(Error::new(Kind::Usage, format!("`{path}` is in a btrfs subvolume that a container made"))
        .hint(format!("use `--only {container}` to restore all data of `{container}` with its subvolumes")))
}

/// Copies `path` of the snapshot, with the subvolumes in it.
fn copy(pool: &Path, record: &PartRecord, held: &Nested, path: &str, copied: &Path) -> Result<()> {
    let snapshot = directory(pool).join(record.id.to_string());
    match held.kept.iter().position(|kept| kept == path) {
        Some(n) => volume::copy(&list::place(&snapshot, n), copied)?,
        None => tree::copy(&snapshot.join("data").join(path), copied)?,
    }
    nested::put(&snapshot, held, Path::new(path), copied)
}

/// Returns the open directory that contains `path`, or `None` if it does not exist. No part of the path may be a link.
fn above(root: &Dir, path: &str) -> Result<Option<Dir>> {
    root.dir(beneath::split(Path::new(path))?.0)
}

/// Puts each in place. The record says so before containers start and before the copies go, which are the only other sign of it: otherwise
/// the next recovery would undo what is in place, and remove the snapshot of what was replaced.
fn switch(pool: &Path, state: &Path, record: &mut PartRecord) -> Result<()> {
    put_all(pool, record)?;
    volume::sync(pool)?;
    record.switched = true;
    write(state, record)
}

/// Puts each part in place that is not there yet.
fn put_all(pool: &Path, record: &PartRecord) -> Result<()> {
    let (data, copies) = (Dir::open(&pool.join("data"))?, Dir::find(&beside(pool))?);
    // Without this directory, all parts are in their places.
    let Some(copies) = copies else { return Ok(()) };
    for (index, (path, new)) in record.new.iter().enumerate() {
        put(&data, path, &copies, &index.to_string(), *new)?;
        // XFS changes the time of a directory when it moves to another directory. The container may change the
        // directory at any time from here on, so an error is ignored.
        let then = Dir::open(&self::data(pool, &record.id))?;
        if let (Ok(Some(then)), Ok(Some(now))) = (then.dir(Path::new(path)), data.dir(Path::new(path))) {
            let _ = tree::same_times(&then, &now);
        }
    }
    Ok(())
}

/// Exchanges the copy with the present part. Both names are changed in open directories, so a path that a container
/// changes at the same time leads to no other place.
fn put(data: &Dir, path: &str, copies: &Dir, copied: &str, new: Option<u64>) -> Result<()> {
    if is_moved(copies, copied, new)? {
        return Ok(());
    }
    let gone = || {
        Error::new(Kind::Refused, format!("the directory of `{path}` no longer exists")).hint(
            "a container changed it during the restore: nothing was restored; try again, or restore the directory",
        )
    };
    let name = beneath::split(Path::new(path))?.1;
    let above = above(data, path)?.ok_or_else(gone)?;
    let is_there = above.metadata(Path::new(name))?.is_some();
    // One synchronization after the last move writes all names to the disk.
    match new {
        Some(_) if is_there => above.exchange(name, copies, copied.as_ref()),
        // A removed directory accepts no names.
        Some(_) => copies.rename(copied.as_ref(), &above, name)?.then_some(()).ok_or_else(gone),
        None => above.rename(name, copies, copied.as_ref()).map(drop),
    }
}

/// Returns whether the copy is in its place. lap's own directory shows this, because only lap changes names there. A
/// container can change the place itself.
fn is_moved(copies: &Dir, copied: &str, new: Option<u64>) -> Result<bool> {
    Ok(number_of(copies, copied)? != new)
}

/// Completes or undoes an interrupted restore. Returns a sentence about it if there was one, like [`super::recover`].
///
/// # Errors
/// The remaining work cannot be done now. Call the function again.
pub fn recover(pool: &Path, state: &Path, world: &mut impl World) -> Result<Option<String>> {
    let Some(mut record) = read(state)? else { return Ok(None) };
    let names = record.new.keys().cloned().collect::<Vec<_>>().join(", ");
    // The incomplete snapshot contains the data before the restore, before any part is moved.
    let kept = half(pool, &record.kept.id).join("data").exists();
    let mut moved = false;
    if let Some(copies) = Dir::find(&beside(pool))? {
        for (index, new) in record.new.values().enumerate() {
            moved |= is_moved(&copies, &index.to_string(), *new)?;
        }
    }
    let begun = record.switched || (kept && moved);
    if begun {
        let kept = record.kept.id.clone();
        after_the_switch(pool, state, &mut record, world)?;
        return Ok(Some(format!(
            "the restore of {names} was interrupted, and is complete now; the data before it is {kept}"
        )));
    }
    let half = half(pool, &record.kept.id);
    if half.exists() {
        drop_half(&half)?;
    }
    drop_beside(pool)?;
    close(pool, state, &record, world)?;
    Ok(Some(format!("the restore from {} was interrupted, and was undone; the state before it is back", record.id)))
}

/// Each step may have been done before.
fn after_the_switch(pool: &Path, state: &Path, record: &mut PartRecord, world: &mut impl World) -> Result<()> {
    if !record.switched {
        switch(pool, state, record)?;
    }
    start(record, world)?;
    finish_rest(pool, state, record, world)
}

fn start(record: &PartRecord, world: &mut impl World) -> Result<()> {
    if world.can_start() {
        world.step(RestoreStep::Start);
        world.start(&record.stopped)?;
    }
    Ok(())
}

fn finish_rest(pool: &Path, state: &Path, record: &PartRecord, world: &mut impl World) -> Result<()> {
    world.step(RestoreStep::Keep);
    // The two trees are independent, and can each be as large as the restored data.
    thread::scope(|scope| {
        let replaced = scope.spawn(|| drop_beside(pool));
        let kept = keep(pool, record);
        replaced.join().unwrap_or_else(|_| Err(Error::new(Kind::Other, "a thread ended with a panic"))).and(kept)
    })?;
    if !world.can_start() {
        return Ok(());
    }
    world.step(RestoreStep::Close);
    forget(pool, state)
}

fn keep(pool: &Path, record: &PartRecord) -> Result<()> {
    if complete(pool, &record.kept)? {
        return Ok(());
    }
    let place = half(pool, &record.kept.id).join("data");
    remove(&place.join(BESIDE))?;
    volume::set_read_only(&place)?;
    finish(pool, &record.kept)
}

fn close(pool: &Path, state: &Path, record: &PartRecord, world: &mut impl World) -> Result<()> {
    if !world.can_start() {
        return Ok(());
    }
    world.step(RestoreStep::Start);
    world.start(&record.stopped)?;
    world.step(RestoreStep::Close);
    forget(pool, state)
}

fn beside(pool: &Path) -> PathBuf {
    pool.join("data").join(BESIDE)
}

/// Removes the directory with the subvolumes in it.
fn drop_beside(pool: &Path) -> Result<()> {
    nested::clear(&pool.join("data"), BESIDE)?;
    remove(&beside(pool))
}

/// Returns a number that identifies a file in the data, even after a rename, or `None` if it does not exist. All
/// subvolumes have the same inode number, so for a subvolume it is the subvolume's own number.
fn number_of(root: &Dir, path: &str) -> Result<Option<u64>> {
    let Some(above) = above(root, path)? else { return Ok(None) };
    let name = Path::new(beneath::split(Path::new(path))?.1);
    let Some(stat) = above.metadata(name)? else { return Ok(None) };
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory
        && let Some(dir) = above.dir(name)?
        && nested::is_subvolume(&dir)
    {
        return volume::number(&dir.reach()).map(|number| Some(number | 1 << 63));
    }
    Ok(Some(stat.st_ino))
}

/// Returns the snapshots that a restore in progress refers to.
///
/// # Errors
/// The record cannot be read.
pub(super) fn named(state: &Path) -> Result<Vec<Id>> {
    Ok(read(state)?.into_iter().flat_map(|record| [record.id, record.kept.id]).collect())
}

fn read(state: &Path) -> Result<Option<PartRecord>> {
    let path = state.join(RECORD);
    match fs::read(&path) {
        Ok(text) => {
            serde_json::from_slice(&text).map(Some).or_error(Kind::Node, || format!("`{}` is damaged", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::new(Kind::Node, format!("cannot read `{}`: {error}", path.display()))),
    }
}

fn write(state: &Path, record: &PartRecord) -> Result<()> {
    let text = serde_json::to_vec_pretty(record).or_error(Kind::Other, || "cannot describe a restore".into())?;
    write_file(&state.join(RECORD), &text, 0o600)
}

/// Everything that the record asks for is on the disk before the record is off it. Otherwise a power cut would leave a part of the work
/// that no record names, and every later restore would be refused.
fn forget(pool: &Path, state: &Path) -> Result<()> {
    volume::sync(pool)?;
    remove_file(&state.join(RECORD))
}

/// Removes what an earlier lap left beside the data without a record.
///
/// # Errors
/// The record cannot be read, or something cannot be removed.
pub(super) fn sweep(pool: &Path, state: &Path) -> Result<()> {
    if read(state)?.is_none() { drop_beside(pool) } else { Ok(()) }
}
