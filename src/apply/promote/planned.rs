//! A switch that is worked out and not begun.

use std::sync::Arc;

use lap_snapshots::Id;

use crate::{
    apply::{install::FileList, master::Master},
    plan::switch::Changes,
    release::{GitMove, LedgerEntry, Staged, Verb, manifest::ReleaseManifest},
    wire::protocol::{facts::NodeFacts, request::InstallTarget},
};

/// What a switch is to do, worked out and not begun.
pub struct Planned {
    pub verb: Verb,
    /// The environment that changes.
    pub master: Arc<Master>,
    /// Where it comes from; `None`: it ran here before.
    pub from: Option<Arc<Master>>,
    pub target: ReleaseManifest,
    /// What runs now.
    pub old: ReleaseManifest,
    /// How the environment is now.
    pub facts: NodeFacts,
    pub changes: Changes,
    /// Data that is put back.
    pub data: Option<Id>,
    /// Files of the environment at that commit, where they are not on the node.
    pub environment: Option<Vec<u8>>,
    /// The containers' checks at that commit, likewise.
    pub checks: Option<Vec<u8>>,
    /// What is installed at each place that differs.
    pub places: Vec<(InstallTarget, FileList)>,
    /// What lies ready for the switch.
    pub staged: Vec<(Staged, FileList)>,
    pub git: Option<GitMove>,
    /// What was done to the environment before; empty where nothing is to be done.
    pub ledger: Vec<LedgerEntry>,
    /// Worth a line before anybody says yes.
    pub notes: Vec<String>,
}

impl Planned {
    /// The release's number afterwards.
    pub fn number(&self) -> u64 {
        self.target.release.unwrap_or(1)
    }

    /// Whether there is nothing to do.
    pub fn is_nothing(&self) -> bool {
        self.changes.is_empty() && self.target.commit == self.old.commit && self.target.env == self.old.env
    }
}
