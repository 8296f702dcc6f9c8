//! What taking a snapshot cost those who were writing; kept in its `meta.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::still::Stood;

/// What writers felt, in microseconds. It says how long they waited meanwhile, not that the snapshot was the reason: on a busy
/// disk they wait anyway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The longest that one 4 KiB write and its fsync(2) took beside the data, tried over and over while the snapshot was
    /// taken; `None`: it could not be tried.
    pub probe: Option<u64>,
    /// By container, the longest that one of its threads stood still waiting for the disk. Those that never did are not here.
    pub containers: BTreeMap<String, u64>,
    /// For how long containers stood still, where the file system takes no snapshots itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub still: Option<Stood>,
    /// What the containers' hooks did, in their order.
    pub hooks: Vec<HookRan>,
}

/// One hook of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRan {
    pub container: String,
    /// `before` or `after`.
    pub hook: String,
    pub micros: u64,
    /// Why it did not do its work, a sentence.
    pub failed: Option<String>,
}

impl Pause {
    /// The longest that anybody waited.
    pub fn longest(&self) -> u64 {
        let still = self.still.map(|stood| stood.micros);
        self.containers.values().copied().chain(self.probe).chain(still).max().unwrap_or(0)
    }
}
