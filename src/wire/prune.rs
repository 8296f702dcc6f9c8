//! What a prune may remove, and what was decided about each thing.

use lap_snapshots::Id;
use serde::{Deserialize, Serialize};

/// What decides, beside what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneRules {
    /// So many of the newest releases stay.
    pub keep: u64,
    /// Seconds that the data of failed releases stays, and the data before those that are gone.
    pub keep_failed: u64,
    /// What came in the last so many seconds stays: somebody may be about to use it.
    pub grace: u64,
}

/// What kind of thing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ItemKind {
    Release,
    Snapshot,
    Container,
    Image,
    Files,
    /// An image in the registry.
    Registry,
    /// Layers in the registry that no image there names.
    Layers,
    BuildCache,
    /// What nodes are made from, on the machine where they live.
    NodeImage,
}

/// One thing, or several of a kind, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PruneDecision {
    pub what: ItemKind,
    /// For people.
    pub name: String,
    /// Bytes, where they are known; of an image all, also what it shares with others.
    pub size: Option<u64>,
    /// Why it stays, or goes.
    pub why: String,
    /// What takes it away; `None`: it stays.
    pub todo: Option<Todo>,
    /// Why it could not be taken away.
    pub failed: Option<String>,
}

impl PruneDecision {
    /// It stays, for this reason.
    pub fn stays(what: ItemKind, name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what, name: name.into(), size: None, why: why.into(), todo: None, failed: None }
    }

    /// It is removed by `todo`, for this reason.
    pub fn removed(what: ItemKind, name: impl Into<String>, why: impl Into<String>, todo: Todo) -> Self {
        Self { todo: Some(todo), ..Self::stays(what, name, why) }
    }

    /// The same decision with the size in bytes.
    #[must_use]
    pub fn with_size(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }
}

/// How one thing is taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Todo {
    Release(u64),
    Snapshot(Id),
    /// By Docker's id.
    Container(String),
    /// Each of its names, then the image, by Docker's id.
    Image {
        id: String,
        names: Vec<String>,
    },
    Files {
        place: String,
        name: String,
    },
    /// Of the registry; before it, these names that Docker has for it: nobody may be told that it is there.
    Manifest {
        repository: String,
        digest: String,
        names: Vec<String>,
    },
    Layers,
    BuildCache,
    NodeImage(String),
}
