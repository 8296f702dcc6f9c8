//! The hooks of a container around a snapshot (`[snapshot]` in container.toml).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Programs that run in a container. An empty list means no program.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct SnapshotHooks {
    /// The program before the snapshot: it dumps a database, flushes data, or stops writing.
    pub before: Vec<String>,
    /// The program after the snapshot. It runs even if the snapshot failed.
    pub after: Vec<String>,
    /// The time limit of each program, including that of `scrub`.
    pub timeout: Duration,
    /// The scrub before another environment sees the data. `None` means that it is not configured, so the data cannot
    /// be given to another environment.
    #[serde(default)]
    pub scrub: Option<Scrub>,
}

/// The way in which data is prepared for another environment.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Scrub {
    /// The data needs no change.
    None,
    /// This program runs on the copy.
    Run(Vec<String>),
}
