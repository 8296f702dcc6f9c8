//! The time for which a snapshot delayed writers. It is stored in the snapshot's `meta.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::still::Stood;

/// The waiting times of writers in microseconds. They show how long writers waited during the snapshot, and not that
/// the snapshot was the cause: on a busy disk they wait anyway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The longest time of a 4 KiB write with fsync(2) beside the data, which is repeated while the snapshot is taken.
    /// `None` means that it could not be measured.
    pub probe: Option<u64>,
    /// For each container, the longest time for which one of its threads waited for the disk. Containers that did not
    /// wait are left out.
    pub containers: BTreeMap<String, u64>,
    /// The time for which containers were frozen, on a file system without snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub still: Option<Stood>,
    /// The results of the containers' hooks, in their order.
    pub hooks: Vec<HookRan>,
}

/// The result of one hook of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRan {
    pub container: String,
    /// The kind of the hook: `before` or `after`.
    pub hook: String,
    pub micros: u64,
    /// A sentence about the failure, if there was one.
    pub failed: Option<String>,
}

impl Pause {
    /// Returns the longest waiting time in microseconds.
    pub fn longest(&self) -> u64 {
        let still = self.still.map(|stood| stood.micros);
        self.containers.values().copied().chain(self.probe).chain(still).max().unwrap_or(0)
    }
}
