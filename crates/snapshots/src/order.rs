//! The order in which a node takes its snapshots. A clock may be wrong, so a counter decides the order, and dates are
//! for people only.
//!
//! `state/snapshot-order.json` contains the counter. Each such file starts a new line of counts, which has a random
//! name. If the file is lost, the node starts a new line, and every snapshot of the new line is newer than those of
//! other lines. So a snapshot of a new node never looks older than the copies of its predecessor.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use lap_base::{
    durable::write_file,
    error::{Kind, OrError, Result},
    random::random,
    state::{self, State},
};
use serde::{Deserialize, Serialize};

use super::id::Id;

const FILE: &str = "snapshot-order.json";

/// The number of seconds by which a clock may be set back without a date counting as one in the future.
const SLACK: i64 = 300;

/// The limit for counts, so that there is always a next one. A larger count is not accepted.
const MOST: u64 = 1 << 53;

/// The number of recent counts that are kept by snapshot, even if the snapshot does not exist yet.
const LATELY: u64 = 16;

/// The position of a snapshot in the order of its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The line of the count.
    pub line: String,
    pub count: u64,
    /// The time in seconds for which agents of this line had run.
    pub ran: u64,
    /// For a snapshot of another line: the number of this line in the repository from which the snapshot came, or 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// The content of `state/snapshot-order.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotCounter {
    pub line: String,
    /// The last count that was assigned.
    pub last: u64,
    /// The time in seconds for which agents of this line have run.
    pub ran: u64,
    /// The counts of the snapshots on the node, also of snapshots with an unreadable description.
    #[serde(default)]
    given: BTreeMap<Id, u64>,
}

/// The sort key of a snapshot: snapshots of earlier versions come first, by date, then those of other lines, then those
/// of this line.
pub type Key = (u8, u64, u64, i64, Id);

/// The time at which this process last added its running time to a counter.
static COUNTED: Mutex<Option<(PathBuf, Instant)>> = Mutex::new(None);

impl SnapshotCounter {
    /// Reads the counter of a pool.
    pub fn read(pool: &Path) -> State<Self> {
        state::json(&path(pool))
    }

    /// Reads the counter, and returns `None` if the file is absent or unreadable. Then all known lines count as other
    /// lines.
    pub fn known(pool: &Path) -> Option<Self> {
        Self::read(pool).value_and_complaint().0
    }

    /// Returns the count of a snapshot, also if its description is unreadable.
    pub fn of(&self, id: &Id) -> Option<u64> {
        self.given.get(id).copied()
    }

    fn write(&self, pool: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).or_error(Kind::Other, || "cannot describe the order".into())?;
        write_file(&path(pool), &text, 0o600)
    }
}

fn path(pool: &Path) -> PathBuf {
    pool.join("state").join(FILE)
}

/// Assigns the next position to the snapshot `id`, before the snapshot is taken. No later call assigns it again, also
/// after a power cut.
///
/// # Errors
/// The disk is full, or the counter cannot be written.
pub fn next(pool: &Path, id: &Id) -> Result<Order> {
    let mut counted = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut counter = open(pool)?;
    counter.ran += since(counted.as_ref(), pool);
    counter.last += 1;
    let last = counter.last;
    counter.given.insert(id.clone(), last);
    let there = state::names(&pool.join("snapshots")).value_or_refuse()?.unwrap_or_default();
    counter.given.retain(|id, count| *count + LATELY > last || there.contains(&id.to_string()));
    counter.write(pool)?;
    *counted = Some((pool.to_path_buf(), Instant::now()));
    Ok(Order { line: counter.line, count: counter.last, ran: counter.ran, generation: None })
}

/// Returns the position of a snapshot with a chosen name: the assigned one, or the next one.
///
/// # Errors
/// The same as [`next`].
pub fn again(pool: &Path, id: &Id) -> Result<Order> {
    let given = SnapshotCounter::known(pool).and_then(|counter| Some((counter.of(id)?, counter)));
    match given {
        // The exact running time is unknown. The present one is later, and so keeps the snapshot for longer.
        Some((count, counter)) => Ok(Order { line: counter.line, count, ran: counter.ran, generation: None }),
        None => next(pool, id),
    }
}

/// Adds the running time of this process since the last call to the counter. The first call only starts the
/// measurement.
///
/// # Errors
/// The disk is full, or the counter cannot be written.
pub fn count_time(pool: &Path) -> Result<()> {
    let mut counted = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut counter = open(pool)?;
    counter.ran += since(counted.as_ref(), pool);
    counter.write(pool)?;
    *counted = Some((pool.to_path_buf(), Instant::now()));
    Ok(())
}

fn since(counted: Option<&(PathBuf, Instant)>, pool: &Path) -> u64 {
    counted.filter(|(of, _)| of == pool).map_or(0, |(_, at)| at.elapsed().as_secs())
}

/// Returns the counter, or the counter of a new line. A damaged file is kept beside the new one; a file that the disk does not give is an
/// error. A new line is newer than all others, so nothing depends on the content of the old file.
fn open(pool: &Path) -> Result<SnapshotCounter> {
    let path = path(pool);
    match SnapshotCounter::read(pool) {
        State::Value(counter) if counter.last < MOST => return Ok(counter),
        State::Absent => {}
        State::Unreadable(why) if fs::read(&path).is_err() => return Err(why.into()),
        _ => {
            let aside = path.with_added_extension("damaged");
            fs::rename(&path, &aside).or_error(Kind::Node, || format!("cannot rename `{}`", path.display()))?;
        }
    }
    let line = format!("{:016x}", u64::from_be_bytes(random()?));
    Ok(SnapshotCounter { line, last: 0, ran: 0, given: BTreeMap::new() })
}

/// Returns the accepted part of the order in the description of a snapshot from another place. It must not be newer
/// than the snapshots of this node. `generation` is the number of its line in the repository.
pub fn believed(claimed: Option<Order>, pool: &Path, generation: Option<u64>) -> Option<Order> {
    let claimed = claimed.filter(|order| order.count < MOST)?;
    match SnapshotCounter::known(pool).filter(|own| own.line == claimed.line) {
        Some(own) => (claimed.count <= own.last).then_some(Order { generation: None, ..claimed }),
        None => Some(Order { generation: Some(generation.unwrap_or(0)), ..claimed }),
    }
}

/// Returns the sort key of a snapshot on a node with the counter `own`.
pub fn key(order: Option<&Order>, at: i64, id: &Id, own: Option<&SnapshotCounter>) -> Key {
    let (rank, generation, count) = match order {
        None => (0, 0, 0),
        Some(order) if own.is_some_and(|own| own.line == order.line) => (2, 0, order.count),
        // Without a generation it was taken here, under a line that was lost: it is newer than what came from elsewhere.
        Some(order) => (1, order.generation.unwrap_or(u64::MAX), order.count),
    };
    (rank, generation, count, at, id.clone())
}

/// Returns whether a date is in the future.
pub fn is_ahead(at: i64, now: i64) -> bool {
    at > now.saturating_add(SLACK)
}

/// The present time, by the clock and by the running time of agents. A jump of the clock does not make a snapshot
/// older.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// The time in Unix seconds.
    pub at: i64,
    pub line: Option<String>,
    pub ran: u64,
}

impl Moment {
    /// Returns the present time of a pool. `at` is the time of the clock.
    pub fn of(pool: &Path, at: i64) -> Self {
        let counted = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = SnapshotCounter::known(pool);
        let ran = counter.as_ref().map_or(0, |counter| counter.ran + since(counted.as_ref(), pool));
        Self { at, line: counter.map(|counter| counter.line), ran }
    }

    /// Returns the minimum time in seconds for which agents have run since a snapshot was taken.
    pub fn age(&self, order: Option<&Order>, at: i64) -> u64 {
        match order.filter(|order| Some(&order.line) == self.line.as_ref()) {
            Some(order) => self.ran.saturating_sub(order.ran),
            // The node did not count when the snapshot was taken, so both the clock and the counter must show the time.
            None => u64::try_from(self.at.saturating_sub(at)).unwrap_or(0).min(self.ran),
        }
    }
}

#[cfg(test)]
mod tests;
