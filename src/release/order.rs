//! What the agent is told to switch to. The operator's machine works it out, ready to be carried out: the agent decides nothing but
//! whether it went well, so it goes on to an end when nobody is there any more.

use bollard::models::ContainerCreateBody;
use lap_snapshots::Id;
use serde::{Deserialize, Serialize};

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// To a release that was tested elsewhere.
    Promote,
    /// Back to one that ran here.
    Rollback,
}

impl Verb {
    /// As it is called.
    pub fn word(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Rollback => "rollback",
        }
    }
}

/// One switch of an environment to another release.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SwitchOrder {
    pub verb: Verb,
    /// Where it was tested, for the ledger.
    pub from: Option<String>,
    /// The release's number afterwards.
    pub number: u64,
    pub commit: String,
    /// `state/current.json` afterwards.
    pub release: serde_json::Value,
    /// sha256 of `state/current.json` when this was planned: if something else runs by now, nothing is done.
    pub expects: String,
    /// Containers that are replaced or go.
    pub stop: Vec<String>,
    /// Containers that are made, each after what it depends on.
    pub start: Vec<Make>,
    /// Everything that runs afterwards: the health gate looks at all of it.
    pub gate: Vec<String>,
    /// The data of the containers concerned is put back to this snapshot.
    pub data: Option<Id>,
    /// What lies ready beside its place.
    pub staged: Vec<Staged>,
    /// The branch that says what runs.
    pub git: Option<GitMove>,
    /// The registry's own image, which is kept as a file, if it changes.
    pub registry_image: Option<String>,
    /// For so many seconds nothing may fall over.
    pub settle: u64,
    /// Milliseconds; longer is taken back.
    pub max_outage: Option<u64>,
    /// Whoever asked is asked before the release is made final, and must be there.
    pub attended: bool,
    /// They run hooks of the commit before they answer.
    #[serde(default)]
    pub hooked: bool,
}

/// A release whose hooks have a say before it is made final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooked {
    /// Where it was tested.
    pub from: String,
    pub commit: String,
    pub release: u64,
}

/// A container to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Make {
    pub name: String,
    /// Of those that are made, too, what it waits for.
    pub after: Vec<String>,
    /// What Docker is asked to create.
    pub body: ContainerCreateBody,
    /// Seconds until it must be healthy.
    pub patience: u64,
}

/// Files that were installed beside their place, to be exchanged with what is there in the switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Staged {
    /// The secrets of a container.
    Secrets(String),
    /// The DNS server's static names.
    Names,
}

/// A branch of the lab's own repository that moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitMove {
    /// `lap`
    pub repository: String,
    /// `master`
    pub branch: String,
    /// What it is at now; `None`: it does not exist.
    pub old: Option<String>,
    pub new: String,
    /// A ref that keeps `old`, for a move that is not forward.
    pub keep: Option<String>,
}

/// What whoever watches says before the release is made final.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WatcherDecision {
    /// Why it must be taken back; `None`: it may go on.
    pub no: Option<String>,
    /// As it was felt from outside.
    pub outage: Vec<Outage>,
}

/// What somebody felt who asked a service all the time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outage {
    /// `git.internal:2200`
    pub service: String,
    pub requests: u64,
    pub failed: u64,
    /// Took longer than a quarter of a second.
    pub slow: u64,
    /// Longest time without an answer, in milliseconds.
    pub gap: u64,
}
