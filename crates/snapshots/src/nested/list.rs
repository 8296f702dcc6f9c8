//! The lists of the subvolumes that a snapshot contains and does not contain.

use std::path::{Path, PathBuf};

use crate::subvolume::shown;
use serde::{Deserialize, Serialize};

/// The directory of the subvolumes beside the data of a snapshot.
pub const BESIDE: &str = "nested";

/// The field `nested` of `meta.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nested {
    /// The paths below the data. Parents come before children. The subvolume `n` is stored as `nested/<n>`.
    #[serde(default)]
    pub kept: Vec<String>,
    /// The subvolumes that the snapshot does not contain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
}

/// A subvolume that a snapshot does not contain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The path below the data, in a readable form.
    pub path: String,
    pub why: String,
}

impl Nested {
    /// Returns whether the data had no subvolumes.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.missing.is_empty()
    }

    /// Returns one sentence for each missing subvolume.
    pub fn complaints(&self) -> Vec<String> {
        let one = |Missing { path, why }: &Missing| {
            format!("the snapshot is incomplete, without the subvolume `{path}`: {why}")
        };
        self.missing.iter().map(one).collect()
    }

    /// Marks all subvolumes as missing, for a destination that cannot contain them.
    pub fn left_behind(mut self, why: &str) -> Self {
        let left = self.kept.drain(..).map(|path| Missing { path, why: why.to_owned() });
        self.missing.extend(left.collect::<Vec<_>>());
        self
    }

    pub(super) fn miss(&mut self, path: &Path, why: impl Into<String>) {
        self.missing.push(Missing { path: shown(path), why: why.into() });
    }
}

/// Returns the path of the subvolume `n` of the snapshot at `snapshot`.
pub fn place(snapshot: &Path, n: usize) -> PathBuf {
    snapshot.join(BESIDE).join(n.to_string())
}
