//! Replaces the present data by a snapshot. This is one transaction: wherever it is killed, it ends in the complete old
//! state or the complete new state. The present data becomes a snapshot, so nothing is lost.
//!
//! The switch is one rename that exchanges two names. Steps before it are undone after a kill, and steps after it are
//! completed. The record in `state` says what to do. The number of the subvolume (without btrfs, of the directory)
//! shows on which side of the switch the restore stopped.

use std::{fs, io::ErrorKind, path::Path};

use lap_base::{
    clock::now,
    durable::{self, remove_file, write_file},
    error::{Error, Kind, OrError, Result},
};
use serde::{Deserialize, Serialize};

use super::{
    filesystem::is_btrfs,
    half::half,
    id::Id,
    meta::{Meta, Reason, data, directory},
    nested::{self, list::Nested, remove},
    order, plain,
    still::Still,
    take::{begin, complete, described, finish, free_id},
    volume,
};

const RECORD: &str = "restore.json";
const NEW: &str = "data.lap-new";

/// The steps in their order. Each is announced before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreStep {
    /// The record is written, and a writable copy of the snapshot is made.
    Prepare,
    /// The containers are stopped.
    Stop,
    /// `/data` is unmounted.
    Unmount,
    /// The two names are exchanged.
    Switch,
    /// `/data` is mounted.
    Mount,
    /// The replaced data becomes a snapshot.
    Keep,
    /// The containers are started.
    Start,
    /// The record is removed.
    Close,
}

impl RestoreStep {
    /// All steps in their order.
    pub const ALL: [Self; 8] =
        [Self::Prepare, Self::Stop, Self::Unmount, Self::Switch, Self::Mount, Self::Keep, Self::Start, Self::Close];

    /// Returns the text for the operator.
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

/// The functions of the machine that a restore needs.
pub trait World: Still {
    /// A step starts.
    fn step(&mut self, step: RestoreStep);
    /// Returns the running containers in the order of their creation. They are started again at the same time, as
    /// Docker does at a boot.
    ///
    /// # Errors
    /// Docker does not answer.
    fn running(&mut self) -> Result<Vec<String>>;
    /// Returns whether containers can be started. During a boot they cannot. Then [`recover`] must be called again
    /// later.
    fn can_start(&self) -> bool;
    /// Stops these containers.
    ///
    /// # Errors
    /// A container does not stop.
    fn stop(&mut self, containers: &[String]) -> Result<()>;
    /// Starts these containers.
    ///
    /// # Errors
    /// A container does not start.
    fn start(&mut self, containers: &[String]) -> Result<()>;
    /// Unmounts `/data`.
    ///
    /// # Errors
    /// `/data` is in use.
    fn unmount(&mut self) -> Result<()>;
    /// Mounts the subvolume `data` at `/data`, unless it is mounted.
    ///
    /// # Errors
    /// The error message of mount.
    fn mount(&mut self) -> Result<()>;
}

/// The content of `state/restore.json`: a restore in progress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct RestoreRecord {
    /// The restored snapshot.
    id: Id,
    /// The description of the future snapshot of the present data.
    kept: Meta,
    /// The number of the subvolume that will be the present data, or `None` if it is not made yet.
    number: Option<u64>,
    /// The containers that ran.
    containers: Vec<String>,
    #[serde(default)]
    release: Option<serde_json::Value>,
}

/// A requested restore.
#[derive(Clone, Debug)]
pub struct Restore<'a> {
    pub pool: &'a Path,
    pub state: &'a Path,
    pub id: &'a Id,
    /// The time in Unix seconds.
    pub at: i64,
    pub by: &'a str,
    /// What runs now, for the description of the replaced data.
    pub current: Option<serde_json::Value>,
    /// What runs after the restore, as `state/current.json`. The caller then makes these containers. `None` means that
    /// the same containers run.
    pub release: Option<serde_json::Value>,
}

impl Restore<'_> {
    /// Runs the restore. Returns the snapshot of the replaced data.
    ///
    /// # Errors
    /// Before the switch, nothing has changed, and the containers run again. After it, the new data remains, and the
    /// error says what must still be done.
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
            nested: Nested::default(),
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
        // `after_the_switch` synchronizes the names before a container starts on the new data.
        durable::swap(&pool.join("data"), &new)
            .or_error(Kind::Node, || format!("cannot exchange `data` and `{}`", new.display()))
    }
}

/// Returns the error for a restore while another one is incomplete.
pub fn pending() -> Error {
    Error::new(Kind::Refused, "an earlier restore is not complete")
        .hint("`lap status` shows the reason; when it is resolved, the next command completes the restore")
}

/// Completes or undoes an interrupted restore. Returns a sentence about it if there was one. Call it before `/data` is
/// used, again when containers can be started, and after a failed restore.
///
/// # Errors
/// The remaining work cannot be done now. Call the function again.
pub fn recover(pool: &Path, state: &Path, world: &mut impl World) -> Result<Option<String>> {
    let Some(record) = RestoreRecord::read(state)? else { return Ok(None) };
    let (id, new) = (&record.id, pool.join(NEW));
    // An unreadable number must stop the recovery, because the data that is deleted below could be the only copy.
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

/// Each step may have been done before, because this is also the recovery after a kill.
fn after_the_switch(pool: &Path, state: &Path, record: &RestoreRecord, world: &mut impl World) -> Result<()> {
    world.step(RestoreStep::Mount);
    world.mount()?;
    world.step(RestoreStep::Keep);
    plain::confirm(pool, &record.id);
    keep(pool, &record.kept)?;
    if let Some(release) = &record.release {
        let text = serde_json::to_vec_pretty(release).or_error(Kind::Other, || "release".into())?;
        write_file(&state.join("current.json"), &text, 0o600)?;
        world.step(RestoreStep::Close);
        return RestoreRecord::remove(pool, state);
    }
    close(pool, state, record, world)
}

/// Makes the directory beside the data a snapshot.
fn keep(pool: &Path, kept: &Meta) -> Result<()> {
    let old = pool.join(NEW);
    if !complete(pool, kept)? {
        let half = match begin(pool, &kept.id) {
            Ok(half) => half,
            // The directory was made before the kill.
            Err(_) if half(pool, &kept.id).is_dir() => half(pool, &kept.id),
            Err(error) => return Err(error),
        };
        let place = half.join("data");
        if old.exists() {
            // The rename comes first, because a read-only subvolume cannot be moved.
            fs::rename(&old, &place).or_error(Kind::Node, || format!("cannot rename `{}`", old.display()))?;
        }
        volume::set_read_only(&place)?;
        // The subvolumes moved with the data. A restore needs them beside the data, so they are taken again.
        let held = nested::take(&place, &half, &nested::All::default(), None)?;
        // This also synchronizes the switch, because from here on containers write into the new data.
        volume::sync(pool)?;
        finish(pool, &Meta { nested: held, ..kept.clone() })?;
    } else {
        // The agent may have been killed before the switch was on the disk.
        volume::sync(pool)?;
    }
    Ok(())
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

/// Makes a snapshot of what lies beside the data without a record: it may be the only copy of the data before a restore, and it blocks
/// every later restore.
///
/// # Errors
/// The record cannot be read, or the snapshot cannot be made.
pub(super) fn sweep(pool: &Path, state: &Path) -> Result<()> {
    if RestoreRecord::read(state)?.is_some() || !pool.join(NEW).exists() {
        return Ok(());
    }
    let (id, at) = (free_id(pool, now()), now());
    let order = Some(order::next(pool, &id)?);
    let (note, by) = (Some("left by a restore that was interrupted".to_owned()), "the agent".to_owned());
    let (reason, nested) = (Reason::Replaced, Nested::default());
    keep(pool, &Meta { id, at, reason, note, by, current: None, pause: None, order, nested })
}

/// Returns the snapshots that a restore in progress refers to.
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
