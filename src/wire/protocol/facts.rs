//! What a node knows of itself.

use std::collections::BTreeMap;

use lap_base::state::{State, Unreadable};
use lap_repositories::policy::CopyStatus;
use lap_snapshots::{Id, Meta, keep::SnapshotPolicy};
use serde::{Deserialize, Serialize};

use super::lock::Holder;
use crate::{release::manifest::ReleaseManifest, wire::paths};

/// All that is known about a node from inside.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NodeFacts {
    /// [`crate::BUILD`] of the running agent.
    pub build: String,
    /// Docker's version; `None` while it does not answer.
    pub docker: Option<String>,
    pub containers: Vec<ContainerFact>,
    pub images: Vec<ImageFact>,
    /// `<place>/<path>` → sha256 of everything that was installed.
    pub installed: BTreeMap<String, String>,
    /// PEM of the certificates among the secrets, by container.
    pub certificates: BTreeMap<String, String>,
    /// Who holds the lock, since when (unix seconds).
    pub lock: Option<(Holder, i64)>,
    /// The last operation, if it did not end well.
    pub unfinished: Option<Unfinished>,
    /// What was interrupted and is not at its end yet.
    #[serde(default)]
    pub recovery: Option<Recovering>,
    /// What the environment runs: `state/current.json`, judged with the releases and the ledger.
    #[serde(default = "not_told")]
    pub recorded: State<ReleaseManifest>,
    /// A number that no release had.
    #[serde(default)]
    pub next_release: u64,
    /// State files that cannot be read.
    #[serde(default)]
    pub unreadable: Vec<Unreadable>,
    /// File system of `/data`, its size and what is free, in bytes.
    pub data: DataFacts,
    /// What is frozen because of its size.
    #[serde(default)]
    pub quota: QuotaFacts,
    #[serde(default)]
    pub snapshots: SnapshotFacts,
    /// The newest commit that was pushed to the lab's own repository.
    #[serde(default)]
    pub push: Option<PushFact>,
    /// What is known of its copies, by repository.
    #[serde(default)]
    pub copies: BTreeMap<String, CopyStatus>,
    /// Who may log in: name and fingerprint of each key; `None`: that cannot be read, or the agent's build does not tell it.
    #[serde(default)]
    pub admits: Option<Vec<(String, String)>>,
}

/// An agent of an earlier build says it in another field.
fn not_told() -> State<ReleaseManifest> {
    State::Unreadable(
        Unreadable::new(paths::STATE, "the agent on the node is of another build").hint("`lap up` replaces the agent"),
    )
}

/// The snapshots there are, and those there should be.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SnapshotFacts {
    pub count: usize,
    /// When the newest was taken (unix seconds).
    pub newest: Option<i64>,
    /// What the newest does not hold, a sentence each.
    #[serde(default)]
    pub incomplete: Vec<String>,
    /// The one that goes on: while its file cannot be read, the last one that could.
    pub policy: SnapshotPolicy,
    /// Since when that is the policy (unix seconds).
    pub since: i64,
    /// Those whose date lies ahead of the node's clock.
    #[serde(default)]
    pub ahead: Vec<Id>,
}

/// The pool, as `statfs` sees it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DataFacts {
    pub filesystem: String,
    pub size: u64,
    pub free: u64,
    /// The length of the file that the pool is in; `None`: it has a disk of its own.
    #[serde(default)]
    pub image: Option<u64>,
}

impl DataFacts {
    /// Below this many free bytes a pool of `size` is almost full: the next snapshot, or a container that writes, may find no room.
    pub fn low(size: u64) -> u64 {
        size / 50
    }

    /// Whether the pool is almost full.
    pub fn is_low(&self) -> bool {
        self.free < Self::low(self.size)
    }
}

/// What the agent does about containers whose data is larger than their size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaFacts {
    /// By container.
    #[serde(default)]
    pub over: BTreeMap<String, OverFact>,
    /// While the pool is almost full: the container whose data grows most, or has the most.
    #[serde(default)]
    pub largest: Option<LargeFact>,
}

/// A container whose data is larger than its size while the pool is almost full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverFact {
    /// Docker's id of the container that was frozen.
    pub id: String,
    /// Bytes of its data when it was frozen.
    pub bytes: u64,
    /// Its size.
    pub size: u64,
    /// Unix seconds.
    pub since: i64,
    /// `false`: a person started it again, and it may run as long as its data does not grow.
    pub frozen: bool,
    /// It was frozen because its data cannot be measured: `bytes` may be less than its size.
    #[serde(default)]
    pub unmeasured: bool,
}

impl QuotaFacts {
    /// Whether the agent froze this container because of its data.
    pub fn is_frozen(&self, container: &str) -> bool {
        self.over.get(container).is_some_and(|over| over.frozen)
    }
}

/// A container without a size, or within it, that may be the reason why the pool is almost full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeFact {
    pub container: String,
    pub bytes: u64,
    /// Bytes that came since the measurement before.
    pub grew: u64,
}

/// How a check of a container ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    pub container: String,
    /// The script's name.
    pub check: String,
    pub ok: bool,
    pub seconds: f64,
    /// The end of what it printed, or why it could not run.
    pub output: String,
}

/// A snapshot, and what it costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedSnapshot {
    pub meta: Meta,
    /// Bytes that only it holds, and all it holds; `None`: not asked for.
    pub sizes: Option<(u64, u64)>,
    /// Why it stays (empty: it goes with the next `prune`); `None`: there is no policy, and all stay.
    pub because: Option<Vec<String>>,
    /// Its date lies ahead of the node's clock.
    #[serde(default)]
    pub ahead: bool,
}

/// A container of the environment, running or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerFact {
    /// Without `infra_`.
    pub name: String,
    pub id: String,
    pub image: String,
    pub labels: BTreeMap<String, String>,
    /// Docker's word: `running`, `exited`, `restarting`, …
    pub state: String,
    pub health: Health,
    /// Unix seconds.
    pub created: i64,
    /// `Up 3 minutes`, for people.
    pub status: String,
}

/// What a container's check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It has no check, or does not run.
    None,
    Starting,
    Healthy,
    Unhealthy,
}

/// An image in the node's Docker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFact {
    pub id: String,
    pub tags: Vec<String>,
    /// `<registry>/<name>@sha256:…`
    pub digests: Vec<String>,
    /// The label `lap.build`: hash of what it was built from.
    pub build: Option<String>,
}

/// Something that was interrupted, and that the agent brings to its end by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovering {
    /// Unix seconds.
    pub since: i64,
    /// Tries that failed.
    pub tries: u64,
    /// Why the last one failed.
    pub error: Option<String>,
}

/// An operation that somebody began and that did not end well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    pub holder: Holder,
    /// Unix seconds.
    pub since: i64,
    /// The step it was in.
    pub step: Option<String>,
    /// `None`: the holder went away.
    pub error: Option<String>,
}

/// The newest push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushFact {
    pub commit: String,
    /// `anna@git`
    pub by: String,
    /// Unix seconds: when it came, and then when it ended.
    pub at: i64,
    /// `None`: it is being built.
    pub result: Option<Result<(), String>>,
}
