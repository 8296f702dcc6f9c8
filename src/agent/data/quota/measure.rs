//! How much data the containers have.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use lap_base::{
    beneath::{DataUsage, Dir, Unmeasured, UsageLimits},
    error::Result,
};

use super::{
    decide::{DataSize, RunningContainer},
    deleted,
};
use crate::wire::paths;

/// The most walks at the same time.
const WALKERS: usize = 4;

/// The limits of one walk.
#[derive(Clone, Copy, Debug)]
pub struct WalkLimits {
    /// The walk ends when it has counted more bytes than this.
    pub enough: u64,
    pub patience: Duration,
}

/// Measures these containers, some at the same time: a container with many files delays the others little. The pool's `data`, not `/data`, which
/// is not there in the middle of a restore.
pub fn measure(
    walks: &BTreeMap<String, WalkLimits>,
    runs: &BTreeMap<String, RunningContainer>,
) -> Result<BTreeMap<String, DataSize>> {
    let data = Dir::open(&Path::new(paths::POOL).join("data"))?;
    let (left, measured) = (Mutex::new(walks.iter()), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..WALKERS.min(walks.len()) {
            scope.spawn(|| {
                loop {
                    let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((container, walk)) = next else { return };
                    let id = runs.get(container).map(|runs| runs.id.as_str());
                    let size = one(&data, container, walk.enough, id, Instant::now() + walk.patience);
                    measured.lock().unwrap_or_else(PoisonError::into_inner).insert(container.clone(), size);
                }
            });
        }
    });
    Ok(measured.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// A container whose data changed during so many walks in a row may hide data from the walk.
const WALKS: u32 = 3;

/// Counts the walks in a row that missed something because the data changed. After some, the data counts as hidden: the container is then frozen,
/// a walk over data that stands still is whole, and the container goes on if it is within its size.
pub fn count_changed(changed: &mut BTreeMap<String, u32>, measured: &mut BTreeMap<String, DataSize>) {
    changed.retain(|container, _| measured.contains_key(container));
    for (container, size) in measured {
        if !size.changed {
            changed.remove(container);
            continue;
        }
        let walks = changed.entry(container.clone()).or_default();
        *walks += 1;
        size.hidden |= *walks >= WALKS;
    }
}

fn one(data: &Dir, container: &str, enough: u64, id: Option<&str>, until: Instant) -> DataSize {
    let usage = match data.dir(Path::new(container)) {
        Ok(Some(own)) => own.usage(UsageLimits { until, enough }),
        Ok(None) => DataUsage::default(),
        // A link, or something else that no container can make here.
        Err(_) => DataUsage { missing: Some(Unmeasured::Place), ..DataUsage::default() },
    };
    let (deleted, all) = match id.filter(|_| usage.bytes <= enough) {
        Some(id) => deleted::bytes(id, &usage.devices, until),
        None => (0, true),
    };
    let is_late = usage.missing == Some(Unmeasured::Time) || !all;
    DataSize {
        bytes: usage.bytes.saturating_add(deleted),
        whole: usage.missing.is_none() && all && usage.bytes <= enough,
        hidden: usage.missing == Some(Unmeasured::Place) && !is_late,
        changed: usage.missing == Some(Unmeasured::Changed) && !is_late,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_that_changes_during_each_walk_counts_as_hidden_until_a_walk_is_whole() {
        let mut changed = BTreeMap::new();
        let mut walk = |is_changed: bool| {
            let size = DataSize { whole: !is_changed, changed: is_changed, ..DataSize::default() };
            let mut measured = BTreeMap::from([("web".to_owned(), size)]);
            count_changed(&mut changed, &mut measured);
            measured["web"].hidden
        };
        assert_eq!(
            [true, true, false, true, true, true, true, false, true].map(&mut walk),
            [false, false, false, false, false, true, true, false, false]
        );
    }
}
