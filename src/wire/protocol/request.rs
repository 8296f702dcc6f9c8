//! What the agent is asked.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use lap_base::secret::{Secret, exposed};
use lap_repositories::policy::News;
use lap_snapshots::{Id, hooks::Scrub};
use serde::{Deserialize, Serialize};

use super::lock::Holder;
use crate::{release::SwitchOrder, wire::prune::PruneRules};

/// The largest pack of Git objects that travels, in bytes.
pub const MAX_PACK: u64 = 512 << 20;

/// The first line on a connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Request {
    /// Everything `plan` needs to know about the node. Response: `Response::Facts`.
    Facts,
    /// Answers `Response::Done` as soon as `/data` is mounted and Docker answers, at most after `seconds`.
    Ready { seconds: u64 },
    /// Holds the lock as long as the connection is open. Response: `Response::Locked`; then lines of `Note`.
    Lock { holder: Holder, wait: bool },
    /// A raw connection to Docker. Without a fencing number it is not cut when the lock changes hands: for looking only.
    Docker { fence: Option<u64> },
    /// A raw connection to the node's own registry, with a fencing number as `Request::Docker`. Response: `Response::Done`, and from
    /// then on the registry's own bytes.
    Registry {
        fence: Option<u64>,
        /// To the port at which the registry takes images.
        #[serde(default)]
        write: bool,
    },
    /// Replaces files: `size` bytes of tar follow. Response: `Response::Installed`.
    Install { fence: u64, place: InstallTarget, size: u64 },
    /// Removes what is installed at a place.
    Uninstall { fence: u64, place: InstallTarget },
    /// Makes `/data/<name>` for these containers.
    ///
    /// `sources`: of their bind mounts; those in the data of a container are mounted where Docker finds them.
    MakeData {
        fence: u64,
        containers: Vec<String>,
        #[serde(default)]
        sources: Vec<PathBuf>,
    },
    /// Writes an image to [`crate::wire::paths::IMAGES`], so that it can be loaded before any registry runs.
    SaveImage { fence: u64, image: String, file: String },
    /// Loads an image that `Request::SaveImage` wrote. Response: `Response::Done`, or an error if there is no such file.
    LoadImage { fence: u64, file: String },
    /// Takes a snapshot of `/data`. Response: `Response::Taken`.
    TakeSnapshot {
        holder: Holder,
        wait: bool,
        note: Option<String>,
        /// Microseconds that writers may wait for it; otherwise there is none.
        #[serde(default)]
        max_pause: Option<u64>,
    },
    /// Response: `Response::Snapshots`.
    ListSnapshots { sizes: bool },
    /// All about one. Response: `Response::Shown`.
    ShowSnapshot { id: String },
    /// Removes a snapshot.
    RemoveSnapshot { holder: Holder, wait: bool, id: String },
    /// Removes what the policy does not keep; with `dry_run` only says so. Response: `Response::Pruned`.
    PruneSnapshots { holder: Holder, wait: bool, dry_run: bool },
    /// What differs in `to` (`None`: the present) from `from`. Response: `Response::Differences`.
    DiffSnapshots { from: String, to: Option<String> },
    /// Puts a snapshot in the place of the present. Goes on when the connection ends. Answers: `Response::Step` for each
    /// step, then `Response::Restored`.
    RestoreSnapshot { holder: Holder, wait: bool, id: String, part: RestorePart },
    /// Copies a snapshot (or `latest`) into the repository whose files the asker reaches. Answers: [`Message::Call`](lap_repositories::relay::Message::Call), each to be
    /// replied to, and `Response::Step`, then `Response::Copied`. Ends when the connection does.
    CopySnapshot {
        id: String,
        /// Somebody wants this very one, not the newest.
        asked: bool,
        lab: String,
        environment: String,
        node: String,
        /// The generation of the snapshot's line in this repository.
        #[serde(default)]
        generation: Option<u64>,
        /// For messages.
        repository: String,
        /// Of this repository; the password stays where it is.
        #[serde(with = "exposed")]
        key: Secret,
    },
    /// Makes a snapshot of what such a repository has of it, under the name `restic`. Answers: as there, then
    /// `Response::Fetched`.
    FetchSnapshot {
        id: Id,
        restic: String,
        /// As above.
        #[serde(default)]
        generation: Option<u64>,
        repository: String,
        /// Of this repository; the password stays where it is.
        #[serde(with = "exposed")]
        key: Secret,
    },
    /// What became of the environment's copies in a repository: kept for `lap status`. No lock is needed.
    NoteCopies { repository: String, news: News },
    /// On a node that is made anew: what the node of this fetched snapshot knew (releases, …) is what this one knows.
    AdoptState { holder: Holder, wait: bool, id: String },
    /// Sends a snapshot. Response: `Response::Exporting`, then the archive (see [`crate::wire::archive_stream`]), then `Response::Done`.
    ExportSnapshot { id: String },
    /// Which snapshots of the environment `from` were brought here and can be the base of the next. Response: `Response::Received`.
    ListReceived { from: String },
    /// Sends a snapshot as btrfs does, only what differs from `parent` if there is one; or, as `archive`, as
    /// `Request::ExportSnapshot` does, which answers the same.
    SendSnapshot { id: Id, parent: Option<Id>, archive: bool },
    /// Takes a snapshot of another environment and puts it, scrubbed, in the place of the present. With `sent` it follows
    /// `Response::Ready`, as the above sent it; otherwise it is here already. What comes then goes on when the connection ends.
    /// Answers: as `Request::RestoreSnapshot`.
    IntoSnapshot { holder: Holder, wait: bool, sent: bool, bring: Bring },
    /// Takes one: the archive follows `Response::Ready`. Response: `Response::Taken`.
    ImportSnapshot { holder: Holder, wait: bool },
    /// Switches the environment to another release. Goes on when the connection ends. Answers: `Response::Step` for each step,
    /// `Response::Asked`, to be answered with a line of [`crate::release::WatcherDecision`], then `Response::Switched`.
    Switch { holder: Holder, wait: bool, order: Box<SwitchOrder> },
    /// Watches the switch that is under way; answers as there.
    WatchSwitch,
    /// Has it taken back.
    AbortSwitch { by: String },
    /// Response: `Response::Releases`.
    Releases,
    /// Writes what runs, or the file of release `number`, anew where it cannot be read. Response: `Response::RecordedAnew`.
    RecordRelease { holder: Holder, wait: bool, number: Option<u64> },
    /// Where a branch of a repository in the environment's git is. Response: `Response::Branch`.
    Branch { repository: String, branch: String, wanted: Option<String> },
    /// A commit of such a repository, and its history. Response: `Response::Objects`, then so many bytes of a pack.
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
    /// `Response::Step` for each step, then `Response::Swept`.
    Prune { holder: Holder, wait: bool, dry_run: bool, rules: PruneRules },
    /// Makes the pool so many bytes large, where it is a file.
    GrowPool { holder: Holder, wait: bool, disk: u64 },
    /// Waits until a container's own check succeeds, at most `seconds`.
    AwaitHealthy { container: String, seconds: u64 },
    /// Runs the checks of what runs, of these containers (none: all). Answers: `Response::Step` for each, then
    /// `Response::Checked`.
    Check { containers: Vec<String> },
    /// Asks name servers these questions (name, type), seen from `vantage`; without `servers`, those of its resolv.conf(5).
    /// Response: `Response::Resolved`.
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

/// Where `Request::Install` puts files. A closed list: nothing else on the node can be written through the agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstallTarget {
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
pub enum RestorePart {
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
