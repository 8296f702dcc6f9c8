//! What is spoken on the agent's socket: one JSON line asks, one JSON line answers; then, for some requests, raw bytes.
//!
//! Every request that changes something carries the fencing number of the lock it is made under.

mod facts;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

pub use facts::{
    Checked, ContainerFact, DataFacts, Health, ImageFact, ListedSnapshot, NodeFacts, Recovering, SnapshotFacts,
    Unfinished,
};

use crate::{
    dns_client::Said,
    error::{Error, Kind},
    keys::{Secret, exposed},
    plan::{
        prune::{Decision as Verdict, Rules},
        wish::Current,
    },
    release::{Entry, Hooked, Order},
    repository::{policy::News, relay::Call},
    snapshot::{Change, Damaged, Filesystem, Id, Meta, hooks::Scrub, keep::Decision},
    state::{State, Unreadable},
};

/// Who a node is. Written to [`super::paths::CONFIG`] before its first start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeConfig {
    pub lab: String,
    pub node: String,
    pub environment: String,
    /// The node's own address: its containers ask the DNS server there.
    pub address: String,
    /// Size of the data pool in bytes.
    pub disk: u64,
    /// Name servers that are asked while the environment's own does not answer.
    pub upstreams: Vec<String>,
    /// Where lap's own sshd listens; `None`: on port 22 of every address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sshd: Option<SocketAddr>,
    /// The disk for the pool; `None`: a sparse file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What a new pool is; `None`: the best that the kernel has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<Filesystem>,
}

/// The first line on a connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Request {
    /// Everything `plan` needs to know about the node. Answer: [`Answer::Facts`].
    Facts,
    /// Answers [`Answer::Done`] as soon as `/data` is mounted and Docker answers, at most after `seconds`.
    Ready { seconds: u64 },
    /// Holds the lock as long as the connection is open. Answer: [`Answer::Locked`]; then lines of [`Note`].
    Lock { holder: Holder, wait: bool },
    /// A raw connection to Docker. Without a fencing number it is not cut when the lock changes hands: for looking only.
    Docker { fence: Option<u64> },
    /// A raw connection to the node's own registry, with a fencing number as [`Request::Docker`]. Answer: [`Answer::Done`], and from
    /// then on the registry's own bytes.
    Registry { fence: Option<u64> },
    /// Replaces files: `size` bytes of tar follow. Answer: [`Answer::Installed`].
    Install { fence: u64, place: Place, size: u64 },
    /// Removes what is installed at a place.
    Uninstall { fence: u64, place: Place },
    /// Makes `/data/<name>` for these containers.
    ///
    /// `sources`: of their bind mounts; those in the data of a container are mounted where Docker finds them.
    MakeData {
        fence: u64,
        containers: Vec<String>,
        #[serde(default)]
        sources: Vec<PathBuf>,
    },
    /// Writes an image to [`super::paths::IMAGES`], so that it can be loaded before any registry runs.
    SaveImage { fence: u64, image: String, file: String },
    /// Loads an image that [`Request::SaveImage`] wrote. Answer: [`Answer::Done`], or an error if there is no such file.
    LoadImage { fence: u64, file: String },
    /// Takes a snapshot of `/data`. Answer: [`Answer::Taken`].
    TakeSnapshot {
        holder: Holder,
        wait: bool,
        note: Option<String>,
        /// Microseconds that writers may wait for it; otherwise there is none.
        #[serde(default)]
        max_pause: Option<u64>,
    },
    /// Answer: [`Answer::Snapshots`].
    ListSnapshots { sizes: bool },
    /// All about one. Answer: [`Answer::Shown`].
    ShowSnapshot { id: String },
    /// Removes a snapshot.
    RemoveSnapshot { holder: Holder, wait: bool, id: String },
    /// Removes what the policy does not keep; with `dry_run` only says so. Answer: [`Answer::Pruned`].
    PruneSnapshots { holder: Holder, wait: bool, dry_run: bool },
    /// What differs in `to` (`None`: the present) from `from`. Answer: [`Answer::Differences`].
    DiffSnapshots { from: String, to: Option<String> },
    /// Puts a snapshot in the place of the present. Goes on when the connection ends. Answers: [`Answer::Step`] for each
    /// step, then [`Answer::Restored`].
    RestoreSnapshot { holder: Holder, wait: bool, id: String, part: Part },
    /// Copies a snapshot (or `latest`) into the repository whose files the asker reaches. Answers: [`Answer::Call`], each to be
    /// replied to, and [`Answer::Step`], then [`Answer::Copied`]. Ends when the connection does.
    CopySnapshot {
        id: String,
        /// Somebody wants this very one, not the newest.
        asked: bool,
        lab: String,
        environment: String,
        node: String,
        /// For messages.
        repository: String,
        /// Of this repository; the password stays where it is.
        #[serde(with = "exposed")]
        key: Secret,
    },
    /// Makes a snapshot of what such a repository has of it, under the name `restic`. Answers: as there, then
    /// [`Answer::Fetched`].
    FetchSnapshot {
        id: Id,
        restic: String,
        repository: String,
        /// Of this repository; the password stays where it is.
        #[serde(with = "exposed")]
        key: Secret,
    },
    /// What became of the environment's copies in a repository: kept for `lap status`. No lock is needed.
    NoteCopies { repository: String, news: News },
    /// On a node that is made anew: what the node of this fetched snapshot knew (releases, …) is what this one knows.
    AdoptState { holder: Holder, wait: bool, id: String },
    /// Sends a snapshot. Answer: [`Answer::Exporting`], then the archive (see [`super::carry`]), then [`Answer::Done`].
    ExportSnapshot { id: String },
    /// Which snapshots of the environment `from` were brought here and can be the base of the next. Answer: [`Answer::Received`].
    ListReceived { from: String },
    /// Sends a snapshot as btrfs does, only what differs from `parent` if there is one; or, as `archive`, as
    /// [`Request::ExportSnapshot`] does, which answers the same.
    SendSnapshot { id: Id, parent: Option<Id>, archive: bool },
    /// Takes a snapshot of another environment and puts it, scrubbed, in the place of the present. With `sent` it follows
    /// [`Answer::Ready`], as the above sent it; otherwise it is here already. What comes then goes on when the connection ends.
    /// Answers: as [`Request::RestoreSnapshot`].
    IntoSnapshot { holder: Holder, wait: bool, sent: bool, bring: Bring },
    /// Takes one: the archive follows [`Answer::Ready`]. Answer: [`Answer::Taken`].
    ImportSnapshot { holder: Holder, wait: bool },
    /// Switches the environment to another release. Goes on when the connection ends. Answers: [`Answer::Step`] for each step,
    /// [`Answer::Asked`], to be answered with a line of [`crate::release::Reply`], then [`Answer::Switched`].
    Switch { holder: Holder, wait: bool, order: Box<Order> },
    /// Watches the switch that is under way; answers as there.
    WatchSwitch,
    /// Has it taken back.
    AbortSwitch { by: String },
    /// Answer: [`Answer::Releases`].
    Releases,
    /// Writes what runs, or the file of release `number`, anew where it cannot be read. Answer: [`Answer::RecordedAnew`].
    RecordRelease { holder: Holder, wait: bool, number: Option<u64> },
    /// Where a branch of a repository in the environment's git is. Answer: [`Answer::Branch`].
    Branch { repository: String, branch: String, wanted: Option<String> },
    /// A commit of such a repository, and its history. Answer: [`Answer::Objects`], then so many bytes of a pack.
    ///
    /// `alone`: without its history.
    GiveObjects {
        repository: String,
        commit: String,
        #[serde(default)]
        alone: bool,
    },
    /// Objects for such a repository: `size` bytes of a pack follow.
    TakeObjects { fence: u64, repository: String, size: u64 },
    /// Removes what nothing needs any more; with `dry_run` only says what that would be. Goes on when the connection ends. Answers:
    /// [`Answer::Step`] for each step, then [`Answer::Swept`].
    Prune { holder: Holder, wait: bool, dry_run: bool, rules: Rules },
    /// Makes the pool so many bytes large, where it is a file.
    GrowPool { holder: Holder, wait: bool, disk: u64 },
    /// Waits until a container's own check succeeds, at most `seconds`.
    AwaitHealthy { container: String, seconds: u64 },
    /// Runs the checks of what runs, of these containers (none: all). Answers: [`Answer::Step`] for each, then
    /// [`Answer::Checked`].
    Check { containers: Vec<String> },
    /// Asks name servers these questions (name, type), seen from `vantage`; without `servers`, those of its resolv.conf(5).
    /// Answer: [`Answer::Resolved`].
    Resolve { vantage: Vantage, servers: Vec<SocketAddr>, questions: Vec<(String, String)> },
    /// Replaces the agent's binary (`size` bytes follow) and starts it anew. The connection ends.
    Upgrade { build: String, size: u64 },
}

/// Whose network a question goes out from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vantage {
    /// The node's own.
    Node,
    /// That of a container which runs and has a network of its own.
    Container,
}

/// Where [`Request::Install`] puts files. A closed list: nothing else on the node can be written through the agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// `env/<name>` with this digest.
    Env(String),
    /// The containers' `checks/` with this digest.
    Checks(String),
    /// The secrets of one container.
    Secrets(String),
    /// Certificates that containers trust.
    Trust,
    /// The DNS server's static names.
    Names,
    /// What the agent does by itself.
    Policy,
    /// Who may log in.
    Ssh,
    /// What the environment runs.
    State,
    /// Beside its place, until a switch puts it there: `names`, or `secrets.<container>`.
    Staged(String),
}

/// What of a snapshot is restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    All,
    /// All, and what ran then becomes what is to run: the containers stay stopped, since others are to be made.
    AllAndRelease,
    /// The data of these containers, which are stopped meanwhile.
    Containers(Vec<String>),
    /// One file or directory below `/data`; nothing is stopped.
    Path(String),
}

/// What of another environment is to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bring {
    /// The environment.
    pub from: String,
    pub id: Id,
    /// How each container's data is scrubbed, and how long that may take. What belongs to no container here stays out.
    pub scrub: BTreeMap<String, (Scrub, Duration)>,
    /// It comes as an archive, since one of the two has no btrfs.
    pub archive: bool,
}

/// Who holds a lock, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// `anna@notebook`
    pub who: String,
    /// The verb, e.g. `up`.
    pub verb: String,
    /// Process on that machine.
    pub pid: u32,
}

impl Holder {
    /// The agent itself, after a start, until what was killed is finished or taken back.
    pub fn recovery() -> Self {
        Self { who: "agent".into(), verb: "restore".into(), pid: std::process::id() }
    }

    /// Whether it is that.
    pub fn is_recovery(&self) -> bool {
        self.who == "agent" && self.verb == "restore"
    }
}

/// What the holder of the lock tells the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Note {
    /// A step begins.
    Step(String),
    /// A step is done.
    Did(String),
    /// All is done, or failed with this message.
    End(Result<(), String>),
}

/// The line that answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
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
        decisions: Vec<Decision>,
    },
    Differences {
        /// The names of both, as they are.
        from: String,
        to: String,
        list: Vec<(String, Change)>,
    },
    Step {
        text: String,
    },
    /// A file of a repository is wanted, or brought: `size` bytes follow. See [`crate::repository::relay`].
    Call(Call),
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
        entry: Box<Entry>,
        /// Of that line of the ledger.
        hash: String,
    },
    Releases {
        /// `state/releases/<number>.json`, by number (as text: JSON has no other keys).
        list: BTreeMap<String, State<Current>>,
        /// Without the entries that cannot be read.
        ledger: Vec<Entry>,
        /// Hash of the newest entry; or why the chain is broken.
        chain: Result<String, Unreadable>,
        /// A number that no release had.
        next: u64,
    },
    RecordedAnew {
        release: Box<Current>,
        /// The files that were written.
        wrote: Vec<String>,
    },
    /// Everything that was looked at, and what became of it.
    Swept {
        decisions: Vec<Verdict>,
    },
    Checked {
        list: Vec<Checked>,
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
    /// What [`Request::Resolve`] found out.
    Resolved {
        /// The container that was asked from; `None`: the node, or there is no suitable one and nothing was asked.
        container: Option<String>,
        /// The server that answered.
        server: Option<SocketAddr>,
        /// In the order of the questions.
        said: Vec<Said>,
    },
    Done,
    Failed {
        kind: Kind,
        message: String,
        hints: Vec<String>,
    },
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        Self::Failed { kind: error.kind, message: error.message, hints: error.hints }
    }
}
