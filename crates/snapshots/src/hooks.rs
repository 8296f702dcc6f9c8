//! What a container does around a snapshot (`[snapshot]` in container.toml).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Programs that run in a container; empty: none.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct SnapshotHooks {
    /// Dump a database, flush, hold still.
    pub before: Vec<String>,
    /// Go on. Runs whatever became of the snapshot.
    pub after: Vec<String>,
    /// Each may take so long; the program of `scrub`, too.
    pub timeout: Duration,
    /// What is done to the data before another environment's containers see it; `None`: nobody said, so it does not go there.
    #[serde(default)]
    pub scrub: Option<Scrub>,
}

/// How data is made fit for another environment.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Scrub {
    /// As it is.
    None,
    /// This program runs on the copy.
    Run(Vec<String>),
}
