//! Puts a snapshot in the place of the present: one transaction that ends in the old state or the new one, whole, wherever
//! it is killed. The present becomes a snapshot, so nothing is lost.
//!
//! The switch is one rename that exchanges two names. What comes before it is undone after a kill, what comes after it is
//! finished; the record in `state` says what there is to do, and the subvolume's number (elsewhere than on btrfs, the directory's) says on
//! which side of it we are.

use std::{fs, io::ErrorKind, path::Path};

use lap_base::{
    durable::{self, remove_file, write_file},
    error::{Error, Kind, OrError, Result},
};
use serde::{Deserialize, Serialize};

use super::{
    filesystem::is_btrfs,
    half::half,
    id::Id,
    meta::{Meta, Reason, data, directory},
    nested::{self, list, remove},
    order, plain,
    still::Still,
    take::{begin, complete, described, finish, free_id},
    volume,
};

const RECORD: &str = "restore.json";
const NEW: &str = "data.lap-new";

/// The steps, in their order; each is announced before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreStep {
    /// The record is written; a writable copy of the snapshot is made.
    Prepare,
    /// Containers are stopped.
    Stop,
    /// `/data` is unmounted.
    Unmount,
    /// The two names are exchanged.
    Switch,
    /// `/data` is mounted.
    Mount,
    /// The present of before becomes a snapshot.
    Keep,
    /// Containers are started.
    Start,
    /// The record is removed.
    Close,
}

impl RestoreStep {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Prepare, Self::Stop, Self::Unmount, Self::Switch, Self::Mount, Self::Keep, Self::Start, Self::Close];

    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Prepare => "prepare the data",
            Self::Stop => "stop the containers",
            Self::Unmount => "unmount /data",
            Self::Switch => "switch",
            Self::Mount => "mount /data",
            Self::Keep => "keep the replaced data",
            Self::Start => "start the containers",
            Self::Close => "close",
        }
    }
}

/// What a restore needs from the machine around the pool.
pub trait World: Still {
    /// A step begins.
    fn step(&mut self, step: RestoreStep);
    /// The containers that run, as they were made. They are started again at the same time, as Docker does at a boot.
    ///
    /// # Errors
    /// Docker does not answer.
    fn running(&mut self) -> Result<Vec<String>>;
    /// Whether containers can be started; at boot not yet: then [`recover`] is called again when they can.
    fn can_start(&self) -> bool;
    /// Stops these containers.
    ///
    /// # Errors
    /// One does not stop.
    fn stop(&mut self, containers: &[String]) -> Result<()>;
    /// Starts these containers.
    ///
    /// # Errors
    /// One does not start.
    fn start(&mut self, containers: &[String]) -> Result<()>;
    /// Unmounts `/data`.
    ///
    /// # Errors
    /// It is busy.
    fn unmount(&mut self) -> Result<()>;
    /// Mounts the subvolume `data` at `/data`, unless it is.
    ///
    /// # Errors
    /// What mount says.
    fn mount(&mut self) -> Result<()>;
}

/// `state/restore.json`: a restore under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct RestoreRecord {
    /// What is restored.
    id: Id,
    /// What the present will be called.
    kept: Meta,
    /// The number of the subvolume that will be the present; `None`: it is not made yet.
    number: Option<u64>,
    /// Containers that ran.
    containers: Vec<String>,
    #[serde(default)]
    release: Option<serde_json::Value>,
}

/// A restore that was asked for.
#[derive(Clone, Debug)]
pub struct Restore<'a> {
    pub pool: &'a Path,
    pub state: &'a Path,
    pub id: &'a Id,
    /// Unix seconds.
    pub at: i64,
    pub by: &'a str,
    /// What runs, for the description of what is kept.
    pub current: Option<serde_json::Value>,
    /// What is to run afterwards, as `state/current.json`; whoever asked for it makes these containers. `None`: the same ones.
    pub release: Option<serde_json::Value>,
}

impl Restore<'_> {
    /// Does it; gives the snapshot that the present became.
    ///
    /// # Errors
    /// Before the switch: everything is as it was, and runs again. After it: the new state stands; the error says what is
    /// still to be done.
    pub fn run(&self, world: &mut impl World) -> Result<Meta> {
        let Self { pool, state, id, at, by, current, release } = self;
        if described(pool, id).is_none() {
            return Err(
                Error::new(Kind::Usage, format!("there is no snapshot `{id}`")).hint("`lap snapshot list` shows them")
            );
        }
        if RestoreRecord::read(state)?.is_some() || pool.join(NEW).exists() {
            return Err(pending());
        }
        let name = free_id(pool, *at);
        let order = Some(order::next(pool, &name)?);
        let kept = Meta {
            id: name,
            at: *at,
            reason: Reason::Replaced,
            note: Some(format!("before the restore of {id}")),
            by: (*by).to_owned(),
            current: current.clone(),
            pause: None,
            order,
            nested: list::Nested::default(),
        };
        let mut record = RestoreRecord {
            id: (*id).clone(),
            kept: kept.clone(),
            number: None,
            containers: world.running()?,
            release: release.clone(),
        };
        world.step(RestoreStep::Prepare);
        record.write(state)?;
        match self.before_the_switch(&mut record, world) {
            Ok(()) => {}
            Err(error) => {
                let undone = recover(pool, state, world);
                return Err(match undone {
                    Ok(_) => error,
                    Err(also) => error.hint(format!("and then: {also}")),
                });
            }
        }
        after_the_switch(pool, state, &record, world).map_err(|error| {
            error.hint(format!(
                "the data of {id} is in place, and the data before it is not lost: the next command continues"
            ))
        })?;
        Ok(kept)
    }

    fn before_the_switch(&self, record: &mut RestoreRecord, world: &mut impl World) -> Result<()> {
        let Self { pool, state, id, .. } = self;
        let new = pool.join(NEW);
        volume::copy(&data(pool, id), &new)?;
        let held = described(pool, id).map(|meta| meta.nested).unwrap_or_default();
        nested::put(&directory(pool).join(id.to_string()), &held, Path::new(""), &new)?;
        if !is_btrfs(pool)? {
            plain::prepare(pool, &new)?;
        }
        record.number = Some(volume::number(&new)?);
        record.write(state)?;
        world.step(RestoreStep::Stop);
        world.stop(&record.containers)?;
        world.step(RestoreStep::Unmount);
        world.unmount()?;
        world.step(RestoreStep::Switch);
        // `after_the_switch` writes the names to the disk, before anything is started on the new data.
        durable::swap(&pool.join("data"), &new)
            .or_error(Kind::Node, || format!("cannot exchange `data` and `{}`", new.display()))
    }
}

/// What a restore says that finds another one in the middle.
pub fn pending() -> Error {
    Error::new(Kind::Refused, "an earlier restore is not complete")
        .hint("`lap status` shows the reason; when it is resolved, the next command completes the restore")
}

/// Finishes or undoes a restore that was killed; says which, if there was one. Call it before `/data` is used, once more when
/// containers can be started, and when a restore has failed.
///
/// # Errors
/// What is left to do cannot be done now; call it again.
pub fn recover(pool: &Path, state: &Path, world: &mut impl World) -> Result<Option<String>> {
    let Some(record) = RestoreRecord::read(state)? else { return Ok(None) };
    let (id, new) = (&record.id, pool.join(NEW));
    // Not knowing is no answer: what is deleted below would be the only copy of what was there.
    if record.number.is_some() && Some(volume::number(&pool.join("data"))?) == record.number {
        let kept = record.kept.id.clone();
        after_the_switch(pool, state, &record, world)?;
        return Ok(Some(format!(
            "the restore of {id} was interrupted, and is complete now; the data before it is {kept}"
        )));
    }
    if new.exists() {
        remove::delete_all(&new)?;
    }
    world.mount()?;
    close(pool, state, &record, world)?;
    Ok(Some(format!("the restore of {id} was interrupted, and was undone; the state before it is back")))
}

/// All of this may have been done before: it is the way forward after a kill, too.
fn after_the_switch(pool: &Path, state: &Path, record: &RestoreRecord, world: &mut impl World) -> Result<()> {
    world.step(RestoreStep::Mount);
    world.mount()?;
    world.step(RestoreStep::Keep);
    let (old, kept) = (pool.join(NEW), &record.kept);
    plain::confirm(pool, &record.id);
    if !complete(pool, kept)? {
        let half = match begin(pool, &kept.id) {
            Ok(half) => half,
            // It was begun before the kill.
            Err(_) if half(pool, &kept.id).is_dir() => half(pool, &kept.id),
            Err(error) => return Err(error),
        };
        let place = half.join("data");
        if old.exists() {
            // Before it is read-only: such a one cannot be moved.
            fs::rename(&old, &place).or_error(Kind::Node, || format!("cannot rename `{}`", old.display()))?;
        }
        volume::set_read_only(&place)?;
        // They went with it, so they are in it and not beside it, where a restore looks for them.
        let held = nested::take(&place, &half, &nested::All::default(), None)?;
        // The switch, too: from here on containers write into the new data.
        volume::sync(pool)?;
        finish(pool, &Meta { nested: held, ..kept.clone() })?;
    } else {
        // The agent may have been killed before the disk had the switch.
        volume::sync(pool)?;
    }
    if let Some(release) = &record.release {
        let text = serde_json::to_vec_pretty(release).or_error(Kind::Other, || "release".into())?;
        write_file(&state.join("current.json"), &text, 0o600)?;
        world.step(RestoreStep::Close);
        return RestoreRecord::remove(pool, state);
    }
    close(pool, state, record, world)
}

fn close(pool: &Path, state: &Path, record: &RestoreRecord, world: &mut impl World) -> Result<()> {
    if !world.can_start() {
        return Ok(());
    }
    world.step(RestoreStep::Start);
    world.start(&record.containers)?;
    world.step(RestoreStep::Close);
    RestoreRecord::remove(pool, state)
}

/// Removes what an earlier lap left beside the data without a record.
///
/// # Errors
/// The record cannot be read, or something cannot be removed.
pub(super) fn sweep(pool: &Path, state: &Path) -> Result<()> {
    let new = pool.join(NEW);
    if RestoreRecord::read(state)?.is_none() && new.exists() { remove::delete_all(&new) } else { Ok(()) }
}

/// The snapshots that a restore under way names.
///
/// # Errors
/// The record cannot be read.
pub(super) fn named(state: &Path) -> Result<Vec<Id>> {
    Ok(RestoreRecord::read(state)?.into_iter().flat_map(|record| [record.id, record.kept.id]).collect())
}

impl RestoreRecord {
    fn write(&self, state: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).or_error(Kind::Other, || "cannot describe a restore".into())?;
        write_file(&state.join(RECORD), &text, 0o600)
    }

    fn read(state: &Path) -> Result<Option<Self>> {
        let path = state.join(RECORD);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| Error::new(Kind::Node, format!("`{}` is damaged: {error}", path.display()))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::new(Kind::Node, format!("cannot read `{}`: {error}", path.display()))),
        }
    }

    /// Everything that the record asks for is on the disk before the record is off it. Otherwise a power cut would leave a part of the
    /// work that no record names, and every later restore would be refused.
    fn remove(pool: &Path, state: &Path) -> Result<()> {
        volume::sync(pool)?;
        remove_file(&state.join(RECORD))
    }
}
