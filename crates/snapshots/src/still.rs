//! Containers that stand still for a moment, where the file system takes no snapshots itself.

use std::time::Duration;

use lap_base::error::Result;
use serde::{Deserialize, Serialize};

/// Makes containers stand still.
pub trait Still {
    /// A step of a snapshot begins.
    fn at(&mut self, step: &str);
    /// Every container that runs stands still when this returns.
    ///
    /// # Errors
    /// One does not; then all go on.
    fn pause(&mut self) -> Result<()>;
    /// They go on. Does nothing where none stands still.
    ///
    /// # Errors
    /// One does not: it is tried again by whoever works on the node next.
    fn resume(&mut self) -> Result<()>;
    /// For how long they may; `None`: as long as it takes.
    fn patience(&self) -> Option<Duration>;
}

/// For how long they did, and for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stood {
    pub micros: u64,
    /// How many files were copied meanwhile, and their bytes.
    pub files: u64,
    pub bytes: u64,
}

/// The steps of a snapshot, where the file system takes none itself. Each is announced before it begins.
pub const STEPS: [&str; 5] = [
    "copy the changes",
    "freeze the containers",
    "copy the last changes",
    "unfreeze the containers",
    "assemble the snapshot",
];
