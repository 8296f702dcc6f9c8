//! Snapshots and restores, asked of the environment's agent: it does them, this watches.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use lap_base::error::{Error, Kind, OrError, Result};
use lap_snapshots::{Damaged, FileChange, Meta, keep::RetentionDecision, none_newer};

use super::{master::Master, options::Options, responses::unexpected};
use crate::{
    config::model::Environment,
    release::{desired_state::DesiredState, manifest::ReleaseManifest},
    report::Events,
    wire::{
        client::AgentClient,
        protocol::{Holder, ListedSnapshot, NodeFacts, Request, Response, RestorePart},
    },
    workspace::Workspace,
};

/// The snapshots of one environment.
pub struct Snapshots {
    master: Master,
}

/// A snapshot that was taken.
pub struct TakenSnapshot {
    pub meta: Meta,
    /// Without the hooks.
    pub seconds: f64,
    /// What went wrong after it, a sentence each.
    pub complaints: Vec<String>,
}

/// What differs: the names of both states, and the files.
pub struct Differs {
    pub from: String,
    pub to: String,
    pub files: Vec<(String, FileChange)>,
}

/// How a restore ended.
pub struct Restored {
    pub id: String,
    /// The snapshot that the present became.
    pub kept: Meta,
    /// How long `/data` was away; of a part, how long its containers were stopped.
    pub seconds: f64,
    /// What ran then is to run again, and is not started yet (`up` as recorded).
    pub other_release: bool,
}

impl Snapshots {
    /// Connects to the environment's master.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn of(workspace: Arc<Workspace>, environment: &Environment) -> Result<Self> {
        Master::connect(workspace, environment, Duration::from_secs(2)).await.map(|master| Self { master })
    }

    /// The environment whose they are.
    pub fn environment(&self) -> &Environment {
        &self.master.environment
    }

    /// The agent.
    pub(super) fn client(&self) -> &AgentClient {
        &self.master.node.client
    }

    /// What is known of the node; an agent of another build is replaced first.
    pub(super) async fn facts(&self, options: &Options) -> Result<NodeFacts> {
        self.master.node.facts(Some(options)).await
    }

    /// Says who is waited for.
    pub(super) fn busy(&self, options: &Options) -> impl FnOnce(&Holder, i64) + use<> {
        self.master.node.busy(options)
    }

    /// Takes one.
    ///
    /// # Errors
    /// Somebody holds the lock, writers would wait for longer than `max_pause`, or what the agent says.
    pub async fn take(
        &self,
        note: Option<String>,
        max_pause: Option<Duration>,
        options: &Options,
    ) -> Result<TakenSnapshot> {
        let max_pause = max_pause.map(|most| most.as_micros() as u64);
        let request = Request::TakeSnapshot { holder: options.holder(), wait: options.wait, note, max_pause };
        match self.work(&request, options).await? {
            Response::Taken { meta, micros, complaints } => {
                Ok(TakenSnapshot { meta, seconds: micros as f64 / 1e6, complaints })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Lists all, the oldest first.
    ///
    /// # Errors
    /// What the agent says.
    pub async fn list(&self, sizes: bool) -> Result<Vec<ListedSnapshot>> {
        match self.master.node.client.ask(&Request::ListSnapshots { sizes }, &[]).await? {
            Response::Snapshots { list, .. } => Ok(list),
            other => Err(unexpected(&other)),
        }
    }

    /// The same, and those whose description cannot be read.
    ///
    /// # Errors
    /// What the agent says.
    pub async fn list_all(&self, sizes: bool) -> Result<(Vec<ListedSnapshot>, Vec<Damaged>)> {
        match self.master.node.client.ask(&Request::ListSnapshots { sizes }, &[]).await? {
            Response::Snapshots { list, damaged } => Ok((list, damaged)),
            other => Err(unexpected(&other)),
        }
    }

    /// All about one, and of each container the bytes that only this one holds, and all.
    ///
    /// # Errors
    /// There is no such snapshot.
    pub async fn show(&self, id: &str) -> Result<(ListedSnapshot, BTreeMap<String, (u64, u64)>)> {
        match self.master.node.client.ask(&Request::ShowSnapshot { id: id.to_owned() }, &[]).await? {
            Response::Shown { snapshot, containers } => Ok((snapshot, containers)),
            other => Err(unexpected(&other)),
        }
    }

    /// Removes one.
    ///
    /// # Errors
    /// There is none of this name, or somebody holds the lock.
    pub async fn remove(&self, id: &str, options: &Options) -> Result<()> {
        let request = Request::RemoveSnapshot { holder: options.holder(), wait: options.wait, id: id.to_owned() };
        match self.work(&request, options).await? {
            Response::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Writes one as a tar file, which is there whole or not at all.
    ///
    /// # Errors
    /// There is no such snapshot, or the file cannot be written.
    pub async fn export(&self, id: &str, file: &Path) -> Result<(Meta, u64)> {
        let what = || format!("cannot write `{}`", file.display());
        let part = file.with_added_extension("part");
        let _ = tokio::fs::remove_file(&part).await;
        let mut options = tokio::fs::OpenOptions::new();
        // It holds whatever the containers hold.
        let mut out = options.create_new(true).write(true).mode(0o600).open(&part).await.or_error(Kind::Host, what)?;
        let exported = self.master.node.client.export(&Request::ExportSnapshot { id: id.to_owned() }, &mut out).await;
        let synced = out.sync_all().await.or_error(Kind::Host, what);
        let done = match (exported, synced) {
            (Ok(done), Ok(())) => Ok(done),
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        if done.is_err() {
            let _ = tokio::fs::remove_file(&part).await;
            return done;
        }
        tokio::fs::rename(&part, file).await.or_error(Kind::Host, what)?;
        done
    }

    /// Takes one from a tar file.
    ///
    /// # Errors
    /// The file is no snapshot, one of that name is there, or somebody holds the lock.
    pub async fn import(&self, file: &Path, options: &Options) -> Result<Meta> {
        let from =
            tokio::fs::File::open(file).await.or_error(Kind::Usage, || format!("cannot read `{}`", file.display()))?;
        self.master.node.facts(Some(options)).await?;
        self.master.node.client.import(options.holder(), options.wait, self.master.node.busy(options), from).await
    }

    /// Removes what the policy does not keep, or with `dry_run` only says what would go.
    ///
    /// # Errors
    /// There is no policy, or somebody holds the lock.
    pub async fn prune(&self, options: &Options) -> Result<Vec<RetentionDecision>> {
        let (holder, wait, dry_run) = (options.holder(), options.wait, options.dry_run);
        match self.work(&Request::PruneSnapshots { holder, wait, dry_run }, options).await? {
            Response::Pruned { decisions } => Ok(decisions),
            other => Err(unexpected(&other)),
        }
    }

    /// What differs in `to` (the present, if it is not named) from `from`.
    ///
    /// # Errors
    /// There is no such snapshot.
    pub async fn diff(&self, from: &str, to: Option<&str>) -> Result<Differs> {
        let request = Request::DiffSnapshots { from: from.to_owned(), to: to.map(str::to_owned) };
        match self.master.node.client.ask(&request, &[]).await? {
            Response::Differences { from, to, list } => Ok(Differs { from, to, files: list }),
            other => Err(unexpected(&other)),
        }
    }

    /// Puts a snapshot in the place of the present. Goes on in the agent if this process ends.
    ///
    /// # Errors
    /// There is no such snapshot, images that ran then are gone (unless `keep_release`), somebody holds the lock, or what the
    /// agent says.
    pub async fn restore(
        &self,
        id: &str,
        part: RestorePart,
        keep_release: bool,
        options: &Options,
    ) -> Result<Restored> {
        let (known, damaged) = self.list_all(false).await?;
        let wanted = match id {
            "latest" => {
                none_newer(&damaged)?;
                known.last()
            }
            id => known.iter().find(|listed| listed.meta.id.to_string() == id),
        };
        let Some(wanted) = wanted else {
            return Err(
                Error::new(Kind::Usage, format!("there is no snapshot `{id}`")).hint("`lap snapshot list` shows them")
            );
        };
        let facts = self.master.node.facts(Some(options)).await?;
        let other = part == RestorePart::All && !keep_release && ran_other(&wanted.meta, &facts)?;
        if other {
            images_are_there(&wanted.meta, &facts)?;
        }
        let part = if other { RestorePart::AllAndRelease } else { part };
        let id = wanted.meta.id.to_string();
        let request = Request::RestoreSnapshot { holder: options.holder(), wait: options.wait, id, part };
        match self.work(&request, options).await? {
            Response::Restored { id, kept, micros } => {
                Ok(Restored { id, kept, seconds: micros as f64 / 1e6, other_release: other })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Asks for something that the agent does under its lock.
    pub(super) async fn ask(&self, request: &Request, options: &Options) -> Result<Response> {
        self.work(request, options).await
    }

    async fn work(&self, request: &Request, options: &Options) -> Result<Response> {
        // An older agent does not know the request: replaced first.
        self.master.node.facts(Some(options)).await?;
        let events: Events = options.events.clone();
        let step = |text: &str| events.note(format!("  {text}"));
        self.master.node.client.work(request, options.wait, self.master.node.busy(options), step).await
    }
}

/// What ran when a snapshot was taken; `None`: nothing did.
pub(super) fn read(meta: &Meta) -> Result<Option<ReleaseManifest>> {
    let current = meta.current.clone().map(serde_json::from_value).transpose();
    current
        .or_error(Kind::Refused, || format!("the snapshot {} has no record of the running release", meta.id))
        .map_err(|error| error.hint("use `--keep-release` to restore only the data, for the present containers"))
}

/// Whether other images ran when the snapshot was taken.
///
/// # Errors
/// What runs now, or what ran then, cannot be read.
fn ran_other(meta: &Meta, facts: &NodeFacts) -> Result<bool> {
    let builds = |current: Option<ReleaseManifest>| {
        current.map(|c| c.images.into_iter().map(|(name, image)| (name, image.build)).collect::<Vec<_>>())
    };
    let now = builds(facts.recorded.clone().value_or_refuse()?);
    let then = builds(read(meta)?);
    Ok(then.is_some() && then != now)
}

/// Before anything is stopped: each image is on the node, or in the registry whose data comes back, too.
pub(super) fn images_are_there(meta: &Meta, facts: &NodeFacts) -> Result<()> {
    let Some(then) = read(meta)? else { return Ok(()) };
    let commit = then.commit.clone();
    let then = DesiredState::from(then);
    let gone = then.removed_containers(facts);
    if gone.is_empty() {
        return Ok(());
    }
    let message =
        format!("images of the containers that ran at snapshot {} no longer exist: `{}`", meta.id, gone.join("`, `"));
    Err(Error::new(Kind::Refused, message)
        .hint("use `--keep-release` to restore only the data, for the present containers")
        .hint(format!("or check out `{commit}`, run `lap image build`, and restore again")))
}
