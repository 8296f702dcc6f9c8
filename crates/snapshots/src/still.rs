//! The interface for freezing containers, on a file system without snapshots.

use std::time::Duration;

use lap_base::error::Result;
use serde::{Deserialize, Serialize};

/// Freezes and unfreezes containers.
pub trait Still {
    /// A step of a snapshot starts.
    fn at(&mut self, step: &str);
    /// Freezes every running container.
    ///
    /// # Errors
    /// A container cannot be frozen. Then all of them are unfrozen.
    fn pause(&mut self) -> Result<()>;
    /// Unfreezes the containers. Does nothing if no container is frozen.
    ///
    /// # Errors
    /// A container cannot be unfrozen. The next command on the node tries it again.
    fn resume(&mut self) -> Result<()>;
    /// Returns the maximum duration of a freeze, or `None` if there is no limit.
    fn patience(&self) -> Option<Duration>;
}

/// The duration of a freeze, and the work during it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stood {
    pub micros: u64,
    /// The number and the size of the files that were copied during the freeze.
    pub files: u64,
    pub bytes: u64,
}

/// The steps of a snapshot on a file system without snapshots. Each is announced before it starts.
pub const STEPS: [&str; 5] = [
    "copy the changes",
    "freeze the containers",
    "copy the last changes",
    "unfreeze the containers",
    "assemble the snapshot",
];
