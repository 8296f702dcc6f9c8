//! What is on a node that may not be needed any more: plain data, which the agent fills in.

use std::collections::{BTreeMap, BTreeSet};

use lap_snapshots::{Id, Meta};

use crate::release::LedgerEntry;

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// `state/current.json`
    pub current: Option<serde_json::Value>,
    /// `state/releases/<number>.json`; null: it cannot be read.
    pub releases: BTreeMap<u64, serde_json::Value>,
    pub ledger: Vec<LedgerEntry>,
    /// The oldest first.
    pub snapshots: Vec<Meta>,
    /// Those whose description cannot be read.
    pub damaged: Vec<Id>,
    pub containers: Vec<StoppedContainer>,
    pub images: Vec<StoredImage>,
    pub files: Vec<InstalledFiles>,
    /// `None`: this node has none.
    pub registry: Option<Registry>,
    /// Why the registry's data cannot be looked at.
    pub strange_registry: Option<String>,
    /// What Docker's builder could give back, as Docker says it.
    pub build_cache: Option<String>,
}

/// A container that does not run, and is lap's.
#[derive(Clone, Debug)]
pub struct StoppedContainer {
    pub id: String,
    /// Docker's name for it.
    pub name: String,
    /// What it is of the environment; `None`: a check's, or one that a switch kept.
    pub of: Option<String>,
    /// Docker's word.
    pub state: String,
}

/// An image in the node's Docker.
#[derive(Clone, Debug, Default)]
pub struct StoredImage {
    pub id: String,
    pub tags: Vec<String>,
    /// `<registry>/<name>@sha256:…`
    pub digests: Vec<String>,
    /// Hash of what it was built from, if lap built it.
    pub build: Option<String>,
    /// Unix seconds.
    pub created: i64,
    pub size: u64,
    /// A container that is made from it, running or not.
    pub used_by: Option<String>,
}

/// A directory that was installed: `env/<digest>`, `checks/<digest>`, `staged`.
#[derive(Clone, Debug)]
pub struct InstalledFiles {
    pub place: String,
    pub name: String,
    /// Unix seconds.
    pub since: i64,
    /// A container has it mounted.
    pub used_by: Option<String>,
}

/// What the registry keeps.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    pub repositories: Vec<ImageRepository>,
    pub blobs: Vec<Blob>,
    /// When a repository last was told to have it (unix seconds), by digest.
    pub linked: BTreeMap<String, i64>,
}

#[derive(Clone, Debug, Default)]
pub struct ImageRepository {
    /// `infra/<commit>/<name>`
    pub name: String,
    pub manifests: Vec<StoredManifest>,
    /// When the newest upload into it was begun that has not ended (unix seconds).
    pub uploading: Option<i64>,
}

#[derive(Clone, Debug, Default)]
pub struct StoredManifest {
    pub digest: String,
    /// Since when it is in this repository (unix seconds).
    pub since: i64,
    /// Every digest in it; `None`: it cannot be read, and may name any.
    pub names: Option<BTreeSet<String>>,
}

#[derive(Clone, Debug, Default)]
pub struct Blob {
    pub digest: String,
    pub size: u64,
    /// Unix seconds.
    pub since: i64,
}
