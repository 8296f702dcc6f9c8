//! Looks at the pool every second, for ever.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use bollard::{
    Docker,
    query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder},
};
use lap_base::{
    clock::now,
    error::{Error, Kind, OrError, Result},
    state::State,
    words::bytes,
};

use super::{
    decide::{DataSize, PoolLevel, QuotaAction, QuotaInput, RunningContainer, decide},
    measure::{WalkLimits, count_changed, measure},
};
use crate::{
    agent::{
        data::{freeze, frozen, held, hooks},
        docker,
        pool::{PoolRoom, reserve},
        recorded,
        system::{blocking::run_blocking, failpoint},
    },
    wire::{
        labels::LABEL_CONTAINER,
        protocol::{LargeFact, OverFact, QuotaFacts},
    },
};

/// Between two looks at the pool.
const LOOK: Duration = Duration::from_secs(1);
/// Between two measurements while the pool changes, at least; and at most while it does not.
const BETWEEN: Duration = Duration::from_secs(2);
const SELDOM: Duration = Duration::from_secs(30);
/// How long one container may take to be measured. A container with so many files that it takes longer has more time the next time.
const PATIENCE: Duration = Duration::from_secs(4);
const MOST: Duration = Duration::from_secs(60);
/// The same for those without a size, and how often: they are only named.
const BRIEFLY: Duration = Duration::from_secs(1);
const NAMED: Duration = Duration::from_secs(30);
/// Docker may be busy with the container that fills the pool.
const ANSWER: Duration = Duration::from_secs(5);

/// Looks for ever.
pub async fn watch() {
    let mut watch = Watch { over: frozen::read(), ..Watch::default() };
    let mut told = None;
    loop {
        let looked = watch.check().await;
        if let Err(error) = &looked
            && told.as_ref() != Some(&error.message)
        {
            eprintln!("agent: {error}");
        }
        told = looked.err().map(|error| error.message);
        tokio::time::sleep(LOOK).await;
    }
}

#[derive(Default)]
struct Watch {
    over: BTreeMap<String, OverFact>,
    /// The last look at the containers.
    looked: Option<Instant>,
    last: Option<Last>,
    /// The containers whose last walk took too long, and how long the next one may take.
    patience: BTreeMap<String, Duration>,
    /// How many walks in a row missed something because the data of the container changed.
    changed: BTreeMap<String, u32>,
    largest: Option<LargeFact>,
    /// The data of those without a size, and when it was measured.
    others: Option<(BTreeMap<String, DataSize>, Instant)>,
}

/// The last measurement.
struct Last {
    ended: Instant,
    took: Duration,
    free: u64,
    measured: BTreeMap<String, DataSize>,
}

impl Watch {
    async fn check(&mut self) -> Result<()> {
        let frozen = self.over.values().any(|fact| fact.frozen);
        let (room, kept) = run_blocking(move || reserve::keep(frozen)).await?;
        let pool = match (room.is_low(), room.is_ample()) {
            (true, _) => PoolLevel::Low,
            (_, true) => PoolLevel::Ample,
            _ => PoolLevel::Between,
        };
        if pool != PoolLevel::Low {
            (self.largest, self.others) = (None, None);
        }
        // From time to time the containers are looked at without a reason: one may be frozen and not listed.
        let is_recent = self.looked.is_some_and(|looked| looked.elapsed() < SELDOM);
        if is_recent && self.over.is_empty() && pool != PoolLevel::Low {
            self.last = None;
            return kept.and(frozen::set(QuotaFacts::default()));
        }
        // Containers that are frozen for a snapshot go on with it.
        let done = if freeze::is_under_way() { Ok(()) } else { self.containers(&room, pool).await };
        let facts = QuotaFacts { over: self.over.clone(), largest: self.largest.clone() };
        kept.and(done).and(frozen::set(facts))
    }

    async fn containers(&mut self, room: &PoolRoom, pool: PoolLevel) -> Result<()> {
        let docker = answer(docker::connect()).await?;
        let runs = answer(runs(&docker)).await?;
        self.looked = Some(Instant::now());
        let sizes = sizes();
        if self.is_due(room, pool)
            && let Some(sizes) = &sizes
        {
            self.measure(room, sizes, &runs).await?;
        }
        let none = BTreeMap::new();
        let measured = self.last.as_ref().map_or(&none, |last| &last.measured);
        let before: BTreeSet<String> = self.over.keys().cloned().collect();
        let hooked = hooks::under_way();
        let seen = QuotaInput { pool, now: now(), runs: &runs, sizes: sizes.as_ref(), measured, hooked: &hooked };
        let acts = decide(&mut self.over, &seen);
        let mut done = self.act(&docker, acts, room).await;
        for (container, fact) in self.over.clone().into_iter().filter(|(_, fact)| fact.frozen) {
            if before.contains(&container) {
                done = done.and(run_blocking(move || held::still(&fact.id)).await);
            }
        }
        if pool == PoolLevel::Low
            && let Some(sizes) = &sizes
        {
            self.name_largest(sizes, &runs, room).await?;
        }
        done
    }

    /// Nothing can have grown where the pool is as full as it was.
    fn is_due(&self, room: &PoolRoom, pool: PoolLevel) -> bool {
        let is_needed = pool == PoolLevel::Low || !self.over.is_empty();
        is_needed
            && self.last.as_ref().is_none_or(|last| {
                let since = last.ended.elapsed();
                since >= SELDOM || (since >= BETWEEN.max(last.took) && last.free != room.free)
            })
    }

    async fn measure(
        &mut self,
        room: &PoolRoom,
        sizes: &BTreeMap<String, u64>,
        runs: &BTreeMap<String, RunningContainer>,
    ) -> Result<()> {
        let patience = |container: &String| self.patience.get(container).copied().unwrap_or(PATIENCE);
        let walk = |(container, size): (&String, &u64)| {
            // Of some it is known that they have too much: what is told is how much.
            let enough = if self.over.contains_key(container) { u64::MAX } else { *size };
            (container.clone(), WalkLimits { enough, patience: patience(container) })
        };
        let (begun, walks, with) = (Instant::now(), sizes.iter().map(walk).collect(), runs.clone());
        let mut measured = run_blocking(move || measure(&walks, &with)).await?;
        let is_late = |(container, measured): &(&String, &DataSize)| {
            let is_ended = measured.whole || measured.hidden || measured.changed;
            !is_ended && sizes.get(*container).is_some_and(|size| measured.bytes <= *size)
        };
        let late = measured.iter().filter(is_late);
        self.patience = late.map(|(container, _)| (container.clone(), (patience(container) * 2).min(MOST))).collect();
        count_changed(&mut self.changed, &mut measured);
        self.last = Some(Last { ended: Instant::now(), took: begun.elapsed(), free: room.free, measured });
        Ok(())
    }

    /// Who has most data, or whose grows most, where a size does not say it.
    async fn name_largest(
        &mut self,
        sizes: &BTreeMap<String, u64>,
        runs: &BTreeMap<String, RunningContainer>,
        room: &PoolRoom,
    ) -> Result<()> {
        let is_unknown = self.last.is_none() && !sizes.is_empty();
        if is_unknown || self.others.as_ref().is_some_and(|(_, at)| at.elapsed() < NAMED) {
            return Ok(());
        }
        let other = |container: &&String| !sizes.contains_key(*container);
        let walk = WalkLimits { enough: u64::MAX, patience: BRIEFLY };
        let walks = runs.keys().filter(other).map(|container| (container.clone(), walk)).collect();
        let with = runs.clone();
        let mut measured = run_blocking(move || measure(&walks, &with)).await?;
        measured.extend(self.last.iter().flat_map(|last| last.measured.clone()));
        let before = self.others.replace((measured.clone(), Instant::now())).map(|(before, _)| before);
        let grew = |container: &String, bytes: u64| {
            let before = before.as_ref().and_then(|before| before.get(container)).map(|measured| measured.bytes);
            before.map_or(0, |before| bytes.saturating_sub(before))
        };
        let facts = measured.iter().filter(|(container, _)| !self.over.contains_key(*container)).map(
            |(container, measured)| LargeFact {
                container: container.clone(),
                bytes: measured.bytes,
                grew: grew(container, measured.bytes),
            },
        );
        // A little comes and goes with all of them; and where none has much, it is snapshots that fill the pool.
        let (counts, much) = (room.size / 200, room.size / 20);
        let facts = facts.filter(|fact| fact.bytes > much);
        self.largest = facts.max_by_key(|fact| (if fact.grew > counts { fact.grew } else { 0 }, fact.bytes));
        Ok(())
    }

    async fn act(&mut self, docker: &Docker, acts: Vec<QuotaAction>, room: &PoolRoom) -> Result<()> {
        let mut all = Ok(());
        for act in acts {
            let done = match &act {
                QuotaAction::Freeze { container, id } => {
                    // Before anything stops: an agent that ends in between finds it.
                    let written = frozen::set(QuotaFacts { over: self.over.clone(), largest: self.largest.clone() });
                    if let Err(error) = written {
                        eprintln!("agent: {error}");
                    }
                    failpoint::at("freeze a container");
                    let held = id.clone();
                    let (frozen, is_held) = run_blocking(move || {
                        let frozen = freeze::outside_snapshot(|| held::hold(&held));
                        Ok((frozen, held::is_held(&held)))
                    })
                    .await?;
                    match self.over.get(container).filter(|_| is_held) {
                        Some(fact) => {
                            tell_frozen(container, fact, room);
                            // How much it has is not known yet: the measurement ended when it was enough.
                            self.last = None;
                        }
                        // It is not frozen in part either.
                        None => drop(self.over.remove(container)),
                    }
                    frozen.map(drop)
                }
                QuotaAction::Thaw { container, id } => {
                    let thawed = thaw(docker, id).await;
                    if let Ok(Some(())) = thawed {
                        self.over.remove(container);
                        eprintln!("agent: `{container}` goes on");
                    }
                    thawed.map(drop)
                }
            };
            all = all.and(done);
        }
        all
    }
}

fn tell_frozen(container: &str, fact: &OverFact, room: &PoolRoom) {
    let has = if fact.unmeasured { "an unknown amount".to_owned() } else { bytes(fact.bytes) };
    eprintln!(
        "agent: froze `{container}`: it has {has} of data, its size is {}, and {} of {} are free",
        bytes(fact.size),
        bytes(room.free),
        bytes(room.size)
    );
}

/// `None`: a snapshot has frozen all containers.
async fn thaw(docker: &Docker, id: &str) -> Result<Option<()>> {
    let facts = answer(async {
        let asked = docker.inspect_container(id, None::<InspectContainerOptions>).await;
        asked.or_error(Kind::Node, || format!("cannot look at {id}"))
    });
    let (facts, id) = (facts.await?, id.to_owned());
    let pids = facts.host_config.and_then(|host| host.pids_limit);
    run_blocking(move || freeze::outside_snapshot(|| held::release(&id, pids))).await
}

/// The containers of lap that run, by name.
async fn runs(docker: &Docker) -> Result<BTreeMap<String, RunningContainer>> {
    let filters = HashMap::from([("label".to_owned(), vec![LABEL_CONTAINER.to_owned()])]);
    let options = ListContainersOptionsBuilder::new().filters(&filters).build();
    let list = docker.list_containers(Some(options)).await.or_error(Kind::Node, || "cannot list containers".into())?;
    let ids = list.iter().filter_map(|fact| fact.id.clone()).collect();
    let held = run_blocking(move || Ok(held::among(&ids))).await?;
    let of = |fact: bollard::models::ContainerSummary| {
        let (id, name) = (fact.id?, fact.labels?.get(LABEL_CONTAINER)?.clone());
        let paused = fact.state.is_some_and(|state| state.to_string() == "paused");
        Some((name, RunningContainer { held: held.contains(&id), id, paused }))
    };
    Ok(list.into_iter().filter_map(of).collect())
}

/// The sizes that the running containers declare; `None`: what runs is not known.
fn sizes() -> Option<BTreeMap<String, u64>> {
    match recorded::current() {
        State::Value(current) => {
            let containers = current.containers.into_iter();
            Some(containers.filter_map(|(name, container)| Some((name, container.data?.size))).collect())
        }
        State::Absent => Some(BTreeMap::new()),
        State::Unreadable(_) => None,
    }
}

async fn answer<T>(asked: impl Future<Output = Result<T>>) -> Result<T> {
    let late = || Error::new(Kind::Node, "cannot look at the containers: Docker does not answer");
    tokio::time::timeout(ANSWER, asked).await.map_err(|_| late())?
}
