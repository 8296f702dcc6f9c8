//! What a container does around a snapshot (`[snapshot]` in container.toml).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Programs that run in a container; empty: none.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Hooks {
    /// Dump a database, flush, hold still.
    pub before: Vec<String>,
    /// Go on. Runs whatever became of the snapshot.
    pub after: Vec<String>,
    /// Each may take so long.
    pub timeout: Duration,
}
