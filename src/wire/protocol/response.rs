//! What the agent answers.

use std::{collections::BTreeMap, net::SocketAddr};

use lap_base::{
    error::{Error, Kind},
    state::{State, Unreadable},
};
use lap_nameserver::client::QueryResult;
use lap_snapshots::{Damaged, FileChange, Id, Meta, keep::RetentionDecision};
use serde::{Deserialize, Serialize};

use super::{
    facts::{CheckResult, ListedSnapshot, NodeFacts},
    lock::Holder,
};
use crate::{
    release::{Hooked, LedgerEntry, manifest::ReleaseManifest},
    wire::prune::PruneDecision as Verdict,
};

/// The line that answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Response {
    Facts(Box<NodeFacts>),
    Locked {
        fence: u64,
    },
    /// Someone else holds the lock, and the caller did not want to wait or is waiting from now on.
    Busy {
        holder: Holder,
        since: i64,
    },
    /// Path below its place → sha256.
    Installed {
        files: BTreeMap<String, String>,
    },
    Taken {
        meta: Meta,
        /// How long it took, without the hooks.
        micros: u64,
        /// What went wrong after it, a sentence each.
        complaints: Vec<String>,
    },
    /// The archive of this snapshot follows.
    Exporting {
        meta: Meta,
    },
    Received {
        list: Vec<Id>,
    },
    /// The archive may come.
    Ready,
    Snapshots {
        list: Vec<ListedSnapshot>,
        /// Those whose description cannot be read.
        #[serde(default)]
        damaged: Vec<Damaged>,
    },
    Shown {
        snapshot: ListedSnapshot,
        /// The bytes that only it holds of a container's, and all of that one's.
        containers: BTreeMap<String, (u64, u64)>,
    },
    /// Every snapshot and why it stays; the others are gone, or would be.
    Pruned {
        decisions: Vec<RetentionDecision>,
    },
    Differences {
        /// The names of both, as they are.
        from: String,
        to: String,
        list: Vec<(String, FileChange)>,
    },
    Step {
        text: String,
    },
    Copied {
        id: Id,
        /// Bytes that came to the repository.
        added: u64,
        /// Bytes of all files.
        size: u64,
    },
    Fetched {
        meta: Meta,
    },
    Restored {
        id: String,
        kept: Meta,
        /// Of it, how long the data was away, from unmounting to mounting; of a part, how long its containers were stopped.
        micros: u64,
    },
    /// How was it from outside, and may the release be made?
    Asked {
        /// Whose hooks are run before that is answered.
        hooked: Option<Hooked>,
    },
    Switched {
        entry: Box<LedgerEntry>,
        /// Of that line of the ledger.
        hash: String,
    },
    Releases {
        /// `state/releases/<number>.json`, by number (as text: JSON has no other keys).
        list: BTreeMap<String, State<ReleaseManifest>>,
        /// Without the entries that cannot be read.
        ledger: Vec<LedgerEntry>,
        /// Hash of the newest entry; or why the chain is broken.
        chain: Result<String, Unreadable>,
        /// A number that no release had.
        next: u64,
    },
    RecordedAnew {
        release: Box<ReleaseManifest>,
        /// The files that were written.
        wrote: Vec<String>,
    },
    /// Everything that was looked at, and what became of it.
    Swept {
        decisions: Vec<Verdict>,
    },
    Checked {
        list: Vec<CheckResult>,
    },
    Objects {
        size: u64,
    },
    Branch {
        /// The commit it is at; `None`: it does not exist.
        at: Option<String>,
        /// Whether the commit that was asked for is there, with all that belongs to it.
        has: bool,
    },
    /// What `Request::Resolve` found out.
    Resolved {
        /// The container that was asked from; `None`: the node, or there is no suitable one and nothing was asked.
        container: Option<String>,
        /// The server that answered.
        server: Option<SocketAddr>,
        /// In the order of the questions.
        said: Vec<QueryResult>,
    },
    Done,
    Failed {
        kind: Kind,
        message: String,
        hints: Vec<String>,
    },
}

impl From<Error> for Response {
    fn from(error: Error) -> Self {
        Self::Failed { kind: error.kind, message: error.message, hints: error.hints }
    }
}
