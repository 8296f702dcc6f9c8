//! The order in which a node takes its snapshots. A clock may be wrong, so a counter decides; dates are for people.
//!
//! `state/snapshot-order.json` has the counter. Each file begins a line of its own with a random name: if the file is lost, the node
//! begins a new line, and every snapshot of the new line is newer than those of other lines. So a node that is made anew never takes
//! a snapshot that looks older than the old node's copies.

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

/// A clock that is set back by less (in seconds) puts no date into the future.
const SLACK: i64 = 300;

/// A counter that claims more is not believed: the next number must exist.
const MOST: u64 = 1 << 53;

/// How many of the last numbers are known by snapshot, even if that snapshot does not exist yet.
const LATELY: u64 = 16;

/// The place of a snapshot in the order of its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The line that counted.
    pub line: String,
    pub count: u64,
    /// For how many seconds the agents of this line had run.
    pub ran: u64,
    /// Of a foreign line: its number in the repository from which the snapshot came, or 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// `state/snapshot-order.json`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotCounter {
    pub line: String,
    /// The last number that was given out.
    pub last: u64,
    /// For how many seconds agents of this line have run.
    pub ran: u64,
    /// The numbers of the snapshots on the node, also of those whose description can no longer be read.
    #[serde(default)]
    given: BTreeMap<Id, u64>,
}

/// What sorts snapshots: those of an earlier lap by date, then those of other lines, then those of this line.
pub type Key = (u8, u64, u64, i64, Id);

/// When this process last added its time to a counter.
static COUNTED: Mutex<Option<(PathBuf, Instant)>> = Mutex::new(None);

impl SnapshotCounter {
    /// The counter of a pool.
    pub fn read(pool: &Path) -> State<Self> {
        state::json(&path(pool))
    }

    /// The same, where a missing or unreadable file only means that every known line is another one.
    pub fn known(pool: &Path) -> Option<Self> {
        Self::read(pool).value_and_complaint().0
    }

    /// The number of a snapshot, also if its description cannot be read.
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

/// The place of the snapshot `id` that is about to be taken. No later call gives it again, also after a power cut.
///
/// # Errors
/// The disk is full.
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

/// The place of a snapshot whose name was chosen before: the one that it was given, or the next one.
///
/// # Errors
/// As [`next`].
pub fn again(pool: &Path, id: &Id) -> Result<Order> {
    let given = SnapshotCounter::known(pool).and_then(|counter| Some((counter.of(id)?, counter)));
    match given {
        // When that was is not known any more. It is the later moment that keeps a snapshot for longer.
        Some((count, counter)) => Ok(Order { line: counter.line, count, ran: counter.ran, generation: None }),
        None => next(pool, id),
    }
}

/// Adds to the counter for how long this process has run since the last call. The first call begins.
///
/// # Errors
/// The disk is full.
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

/// The counter, or a new line. A file that cannot be read is kept beside the new one: a new line is newer than every other, so nothing
/// depends on what the file said.
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

/// The order that the description of a snapshot from elsewhere claims, as far as it is believed: nothing claims to be newer than what
/// this node has taken. `generation`: the number of its line in the repository.
pub fn believed(claimed: Option<Order>, pool: &Path, generation: Option<u64>) -> Option<Order> {
    let claimed = claimed.filter(|order| order.count < MOST)?;
    match SnapshotCounter::known(pool).filter(|own| own.line == claimed.line) {
        Some(own) => (claimed.count <= own.last).then_some(Order { generation: None, ..claimed }),
        None => Some(Order { generation: Some(generation.unwrap_or(0)), ..claimed }),
    }
}

/// The key of a snapshot on a node with this counter.
pub fn key(order: Option<&Order>, at: i64, id: &Id, own: Option<&SnapshotCounter>) -> Key {
    let (rank, generation, count) = match order {
        None => (0, 0, 0),
        Some(order) if own.is_some_and(|own| own.line == order.line) => (2, 0, order.count),
        // Without a generation it was taken here, under a line that was lost: it is newer than what came from elsewhere.
        Some(order) => (1, order.generation.unwrap_or(u64::MAX), order.count),
    };
    (rank, generation, count, at, id.clone())
}

/// Whether a date lies ahead of the clock.
pub fn is_ahead(at: i64, now: i64) -> bool {
    at > now.saturating_add(SLACK)
}

/// The present, by the clock and by the time that agents have run. A clock that jumps makes nothing older.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// Unix seconds.
    pub at: i64,
    pub line: Option<String>,
    pub ran: u64,
}

impl Moment {
    /// The present of a pool, when its clock shows `at`.
    pub fn of(pool: &Path, at: i64) -> Self {
        let counted = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = SnapshotCounter::known(pool);
        let ran = counter.as_ref().map_or(0, |counter| counter.ran + since(counted.as_ref(), pool));
        Self { at, line: counter.map(|counter| counter.line), ran }
    }

    /// For how many seconds agents have certainly run since a snapshot was taken.
    pub fn age(&self, order: Option<&Order>, at: i64) -> u64 {
        match order.filter(|order| Some(&order.line) == self.line.as_ref()) {
            Some(order) => self.ran.saturating_sub(order.ran),
            // The node did not count when it was taken: both the clock and the counter must have seen the time pass.
            None => u64::try_from(self.at.saturating_sub(at)).unwrap_or(0).min(self.ran),
        }
    }
}

#[cfg(test)]
mod tests;
