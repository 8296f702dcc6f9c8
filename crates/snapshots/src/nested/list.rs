//! Which subvolumes a snapshot holds beside its data, and which it does not.

use std::path::{Path, PathBuf};

use crate::subvolume::shown;
use serde::{Deserialize, Serialize};

/// Their directory beside the data of a snapshot.
pub const BESIDE: &str = "nested";

/// `nested` in `meta.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nested {
    /// Their paths below the data, parents before children. The `n`-th is `nested/<n>`.
    #[serde(default)]
    pub kept: Vec<String>,
    /// What the snapshot does not hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
}

/// One that a snapshot does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Below the data, readable.
    pub path: String,
    pub why: String,
}

impl Nested {
    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.missing.is_empty()
    }

    /// One sentence for each that is missing.
    pub fn complaints(&self) -> Vec<String> {
        let one = |Missing { path, why }: &Missing| {
            format!("the snapshot is incomplete, without the subvolume `{path}`: {why}")
        };
        self.missing.iter().map(one).collect()
    }

    /// What became of all of them on the way to a place that takes none.
    pub fn left_behind(mut self, why: &str) -> Self {
        let left = self.kept.drain(..).map(|path| Missing { path, why: why.to_owned() });
        self.missing.extend(left.collect::<Vec<_>>());
        self
    }

    pub(super) fn miss(&mut self, path: &Path, why: impl Into<String>) {
        self.missing.push(Missing { path: shown(path), why: why.into() });
    }
}

/// The `n`-th one that the snapshot at `snapshot` holds.
pub fn place(snapshot: &Path, n: usize) -> PathBuf {
    snapshot.join(BESIDE).join(n.to_string())
}
