//! Switches the environment to another release as one transaction, which ends in the old release or the new one, whole, wherever it
//! is killed. Before the release is made (`Phase::Committed` is written) everything is taken back; after it, finished. The record
//! holds all it takes, so neither way needs whoever asked for it.

mod connection;
mod containers;
mod gate;
mod git;
mod measure;
mod record;
mod staged;
mod undo;
mod watch;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bollard::Docker;
use futures_util::future::try_join_all;
use sha2::{Digest, Sha256};

pub use crate::wire::labels::KEPT;

use super::{facts, failpoint, images, recorded, snapshots};
use crate::{
    clock::now,
    durable::{self, write_file},
    error::{Error, Kind, OrError, Result},
    release::{self, Ended, Entry, Hooked, Make, Order, Verb, manifest::Current},
    snapshot::{Id, Reason},
    wire::paths,
};
use measure::Measure;
use record::{Phase, Record};
pub use watch::Watch;

/// A switch that is being done.
pub struct Switch {
    docker: Docker,
    record: Record,
    watch: Watch,
    measure: Measure,
    /// Writes a step into the journal.
    note: Box<dyn Fn(&str) + Send + Sync>,
}

/// How it ended, and the hash of the ledger's newest entry.
pub type Done = (Entry, String);

/// The name of what runs: sha256 of what `state/current.json` says.
pub fn identity(current: Option<&Current>) -> String {
    current.map_or_else(String::new, |current| {
        hex::encode(Sha256::digest(serde_json::json!(current).to_string().as_bytes()))
    })
}

/// Work that blocks, on a thread of its own.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.or_error(Kind::Other, || "the agent".into())?
}

/// Does it.
///
/// # Errors
/// Nothing was begun; or it could not even be taken back: then [`recover`] goes on with it.
pub async fn run(
    order: Order,
    by: String,
    fence: u64,
    watch: Watch,
    note: Box<dyn Fn(&str) + Send + Sync>,
) -> Result<Done> {
    let docker = facts::docker().await?;
    let found = aside(|| Ok(recorded::look(Path::new(paths::STATE)))).await?;
    // Who made which release is written down by every switch, and the number must be one that no release had.
    found.chain.as_ref().map_err(|why| Error::from(why.clone()))?;
    let next = found.next_number();
    let old = found.current.value_or_refuse()?;
    if identity(old.as_ref()) != order.expects {
        return Err(Error::new(Kind::Refused, "the environment changed after this was planned")
            .hint("run the command again: it makes a new plan"));
    }
    if order.verb == Verb::Promote && order.number < next {
        return Err(Error::new(Kind::Refused, format!("release {} exists already", order.number))
            .hint("run the command again: it makes a new plan"));
    }
    for make in &order.start {
        let image = make.body.image.as_deref().unwrap_or_default();
        let there = docker.inspect_image(image).await;
        there.or_error(Kind::Refused, || format!("the image of `{}` is not on the node", make.name))?;
    }
    // Since it was brought, somebody may have pruned.
    for (dir, key) in [(paths::ENV, "env"), (paths::CHECKS, "checks")] {
        let digest = order.release.get(key).and_then(|digest| digest.as_str()).unwrap_or_default();
        if !digest.is_empty() && !Path::new(dir).join(digest).is_dir() {
            return Err(Error::new(Kind::Refused, format!("`{dir}/{digest}` is not on the node"))
                .hint("run the command again: it transfers what is missing"));
        }
    }
    let running = facts::look().await.containers.into_iter().filter(|fact| fact.state == "running");
    let mut ran: Vec<(i64, String)> =
        running.filter(|fact| order.stop.contains(&fact.name)).map(|fact| (fact.created, fact.name)).collect();
    ran.sort();
    let (before, failed) = snapshots::two_names()?;
    let staged = staged::look(&order.staged)?;
    let ran = ran.into_iter().map(|(_, name)| name).collect();
    let record = Record {
        order,
        fence,
        by,
        began: now(),
        phase: Phase::Open,
        old: old.map(|old| serde_json::json!(old)),
        ran,
        before,
        failed,
        staged,
        away: None,
        moved: false,
        checks: 0,
        outage: Vec::new(),
    };
    let measure = Measure::begin(&record.replaced(), record.old.as_ref()).await;
    let mut switch = Switch { docker, record, watch, measure, note };
    switch.step("record the planned steps")?;
    switch.record.write()?;
    let made = match switch.forward().await {
        Ok(()) => switch.commit(),
        Err(error) => Err(error),
    };
    match made {
        Ok(()) => switch.finish().await,
        Err(error) => switch.undo(error).await,
    }
}

/// Whether [`recover`] has something to do.
pub fn is_pending() -> bool {
    Record::exists()
}

/// Where the ledger is.
pub fn ledger() -> PathBuf {
    Path::new(paths::STATE).join("ledger.jsonl")
}

/// The snapshots that a switch under way goes back to, or is about to make.
///
/// # Errors
/// The record cannot be read.
pub fn named() -> Result<Vec<Id>> {
    let record = Record::read()?;
    Ok(record
        .into_iter()
        .flat_map(|record| [Some(record.before), Some(record.failed), record.order.data])
        .flatten()
        .collect())
}

/// Brings what was interrupted to its end; says which. Docker must answer, and the data be whole ([`snapshots::settle`]). `watch` hears of
/// each step, and the log with `tell`.
///
/// # Errors
/// It cannot be done now; call it again.
pub async fn recover(watch: &Watch, tell: bool) -> Result<Option<String>> {
    let Some(record) = aside(Record::read).await? else { return Ok(None) };
    let note: Box<dyn Fn(&str) + Send + Sync> =
        if tell { Box::new(|step| eprintln!("agent: switch: {step}")) } else { Box::new(|_| {}) };
    let (number, phase) = (record.order.number, record.phase.clone());
    let measure = Measure::interrupted(&record.replaced());
    let mut switch = Switch { docker: facts::docker().await?, record, watch: watch.clone(), measure, note };
    if phase == Phase::Committed {
        switch.finish().await?;
        return Ok(Some(format!("the switch to release {number} was interrupted, and is complete now")));
    }
    let why = match phase {
        Phase::Back(why) => why,
        _ => "it was interrupted".to_owned(),
    };
    switch.undo(Error::new(Kind::Interrupted, why)).await?;
    Ok(Some(format!("the switch to release {number} was interrupted, and was taken back; the old release runs again")))
}

impl Switch {
    fn step(&self, text: &str) -> Result<()> {
        self.tell(text);
        match self.watch.aborted() {
            Some(why) => Err(Error::new(Kind::Interrupted, why)),
            None => Ok(()),
        }
    }

    /// A step that nobody can stop.
    fn tell(&self, text: &str) {
        (self.note)(text);
        self.watch.step(text);
        failpoint::at(text);
    }

    async fn forward(&mut self) -> Result<()> {
        let order = self.record.order.clone();
        self.step("stop the containers that change")?;
        containers::stop(&self.docker, &self.record.ran).await?;
        self.measure.ended(&self.docker).await;
        containers::put_aside(&self.docker, &order.stop).await?;
        self.step("take a snapshot of the data")?;
        self.keep_data(&order).await?;
        self.step("set names and secrets")?;
        staged::put(&order.staged, &self.record.staged, false)?;
        self.start(&order.start).await?;
        self.record.away = self.measure.worst();
        self.step("check that all containers are healthy")?;
        gate::all(&self.docker, &order.gate, &self.watch).await?;
        self.step("run the checks")?;
        self.record.checks = gate::checks(&self.docker, &order.release, &self.watch).await?;
        self.step(&format!("watch the release for {} s", order.settle))?;
        gate::settle(&self.docker, &order.gate, Duration::from_secs(order.settle), &self.watch).await?;
        if let Some(to) = &order.git {
            self.step(&format!("move `{}` of `{}`", to.branch, to.repository))?;
            self.record.moved = true;
            self.record.write()?;
            git::advance(&self.docker, to).await?;
        }
        self.last_word(&order).await
    }

    async fn keep_data(&self, order: &Order) -> Result<()> {
        let (by, before, concerned) = (self.record.by.clone(), self.record.before.clone(), self.record.concerned());
        let note = format!("before the {} to release {}", order.verb.word(), order.number);
        let (data, old) = (order.data.clone(), self.record.old.clone());
        aside(move || {
            if let Some(id) = data {
                let kept = (before.clone(), Reason::Release, note.clone());
                snapshots::put_back(&by, &id, &concerned, kept, old)?;
            }
            snapshots::keep_as(&by, &before, Reason::Release, note)
        })
        .await
    }

    /// Those that wait for nothing at the same time, then those that waited for them.
    async fn start(&self, all: &[Make]) -> Result<()> {
        let mut left: Vec<&Make> = all.iter().collect();
        while !left.is_empty() {
            let waits = |make: &&Make| make.after.iter().any(|on| left.iter().any(|other| other.name == *on));
            let (later, now): (Vec<&Make>, Vec<&Make>) = left.iter().partition(|make| waits(make));
            // A circle cannot come here; if one did, it would be started in the order it has.
            let (later, now) = if now.is_empty() { (now, later) } else { (later, now) };
            let each = now.iter().map(|make| async move {
                self.step(&format!("start `{}`", make.name))?;
                containers::start(&self.docker, make, self.record.fence).await?;
                self.step(&format!("wait until `{}` is healthy", make.name))?;
                gate::healthy(&self.docker, &make.name, Duration::from_secs(make.patience), &self.watch).await?;
                self.measure.healthy(&make.name);
                Ok::<(), Error>(())
            });
            try_join_all(each).await?;
            left = later;
        }
        Ok(())
    }

    /// What whoever asked for it felt, if they are there.
    async fn last_word(&mut self, order: &Order) -> Result<()> {
        self.step("ask the client to confirm the release")?;
        let hooked = order.from.clone().filter(|_| order.hooked);
        let hooked = hooked.map(|from| Hooked { from, commit: order.commit.clone(), release: order.number });
        match self.watch.ask(order.attended, hooked).await {
            Some(reply) => {
                self.record.outage = reply.outage;
                reply.no.map_or(Ok(()), |no| Err(Error::new(Kind::Unhealthy, no)))
            }
            None if self.watch.aborted().is_some() => self.step("stop"),
            None if order.attended => {
                Err(Error::new(Kind::Interrupted, "the client disconnected before it confirmed the release"))
            }
            None => match (order.max_outage, self.measure.worst()) {
                (Some(most), Some(away)) if away > most => Err(Error::new(
                    Kind::Unhealthy,
                    format!("the outage lasted {away} ms, longer than the limit of {most} ms"),
                )),
                _ => Ok(()),
            },
        }
    }

    /// From here on there is no way back but another switch.
    fn commit(&mut self) -> Result<()> {
        self.step("make it the release")?;
        self.record.away = self.measure.worst();
        self.record.phase = Phase::Committed;
        self.record.write().inspect_err(|_| self.record.phase = Phase::Open)
    }

    /// All of it may have been done before.
    async fn finish(&self) -> Result<Done> {
        let order = &self.record.order;
        let done = self.close().await;
        done.map_err(|error| {
            error.hint(format!(
                "release {} runs; the agent completes the remaining steps, and repeats them until they succeed",
                order.number
            ))
        })
    }

    async fn close(&self) -> Result<Done> {
        let order = &self.record.order;
        self.tell("record what runs");
        // They are in place since before the release was made; should one not be, the new release would run with the old ones.
        staged::put(&order.staged, &self.record.staged, false)?;
        let (state, number) = (Path::new(paths::STATE), order.number);
        let text = serde_json::to_vec_pretty(&order.release).or_error(Kind::Other, || "release".into())?;
        let releases = state.join("releases");
        durable::create_dir_all(&releases).or_error(Kind::Node, || format!("cannot make `{}`", releases.display()))?;
        if order.verb == Verb::Promote {
            write_file(&releases.join(format!("{number}.json")), &text, 0o600)?;
        }
        write_file(&state.join("current.json"), &text, 0o600)?;
        let entry = self.entry(Ended::Done);
        let hash = release::append(&ledger(), entry.clone())?;
        self.tell("remove the old containers");
        containers::forget(&self.docker, &order.stop).await?;
        if let Some(image) = &order.registry_image {
            images::save(image, "registry.tar").await?;
        }
        self.tell("close");
        staged::clear();
        Record::remove()?;
        Ok((entry, hash))
    }

    fn entry(&self, result: Ended) -> Entry {
        let Record { order, fence, by, began, before, away, checks, outage, .. } = &self.record;
        let images = order.start.iter().map(|make| (make.name.clone(), make.body.image.clone().unwrap_or_default()));
        Entry {
            number: 0,
            fence: *fence,
            began: *began,
            ended: now(),
            by: by.clone(),
            verb: order.verb,
            from: order.from.clone(),
            release: order.number,
            commit: order.commit.clone(),
            images: images.collect(),
            before: Some(before.clone()),
            checks: *checks,
            away: *away,
            outage: outage.clone(),
            result,
            previous: String::new(),
        }
    }
}
