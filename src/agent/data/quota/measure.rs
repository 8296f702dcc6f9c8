//! How much data the containers have.

use std::{
    collections::BTreeMap,
    path::Path,
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

/// Measures these containers, each up to its size and for this long. The pool's `data`, not `/data`, which is away in the middle of a restore.
pub fn measure(
    sizes: &BTreeMap<String, u64>,
    runs: &BTreeMap<String, RunningContainer>,
    patience: Duration,
) -> Result<BTreeMap<String, DataSize>> {
    let data = Dir::open(&Path::new(paths::POOL).join("data"))?;
    let each = |(container, size): (&String, &u64)| {
        let id = runs.get(container).map(|runs| runs.id.as_str());
        (container.clone(), one(&data, container, *size, id, Instant::now() + patience))
    };
    Ok(sizes.iter().map(each).collect())
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
    }
}
