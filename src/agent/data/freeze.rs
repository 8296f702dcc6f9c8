//! Containers stand still while a file system that takes no snapshots itself is copied: each of their processes gets SIGSTOP, which none can
//! refuse or see, and SIGCONT when it is done. Not Docker's `pause`: who is frozen by control groups of version 1 cannot be
//! killed, and neither can the container that is_stopped in for this node.
//!
//! Who is to stand still is written down before: an agent that finds this at its start lets all go on before it does anything else.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bollard::query_parameters::ListContainersOptionsBuilder;
use lap_base::{
    durable::write_file,
    error::{Error, Kind, OrError, Result},
    state::{self, State},
};
use lap_snapshots::Still;
use rustix::process::Signal;
use tokio::runtime::Handle;

use super::{
    held,
    processes::{is_container, is_stopped, of, processes, signal, start, until_still},
};
use crate::{
    agent::{docker, system::failpoint},
    wire::paths,
};

/// Those that are to stand still, in `state`.
const RECORD: &str = "paused.json";

/// How long the first try to have all of them stand may take.
const TRY: Duration = Duration::from_millis(40);

/// A snapshot begins to freeze all containers, or the quota freezes or continues one: not at the same time.
static CHANGING: Mutex<()> = Mutex::new(());

/// All containers of this node.
#[derive(Default)]
pub struct Containers {
    /// For how long they may stand still.
    pub most: Option<Duration>,
    /// Processes that stood still before anybody asked for it.
    before: BTreeSet<i32>,
}

impl Containers {
    pub fn at_most(most: Option<Duration>) -> Self {
        Self { most, ..Self::default() }
    }
}

impl Still for Containers {
    fn at(&mut self, step: &str) {
        failpoint::at(step);
    }

    fn pause(&mut self) -> Result<()> {
        let runtime = Handle::current();
        // Whoever takes a snapshot may be inside the runtime, or not: a thread of its own never is.
        let ids = std::thread::scope(|scope| {
            let asking = scope.spawn(|| runtime.block_on(running()));
            asking
                .join()
                .unwrap_or_else(|_| Err(Error::new(Kind::Other, "the thread that queries Docker ended with a panic")))
        })?;
        let text = serde_json::to_vec(&ids).or_error(Kind::Other, || "containers".into())?;
        {
            let _change = changing();
            write_file(&record(), &text, 0o600)?;
        }
        self.before = processes(&|groups| of(&ids, groups)).into_iter().filter(|pid| is_stopped(*pid)).collect();
        let mine = |groups: &str| of(&ids, groups);
        let stop = |pid| signal(pid, Signal::STOP, &mine);
        until_still(&|| processes(&mine), &is_stopped, &stop, &|| start(&mine, &self.before), TRY)
    }

    fn resume(&mut self) -> Result<()> {
        go_on(&self.before)
    }

    fn patience(&self) -> Option<Duration> {
        self.most
    }
}

/// Whoever is_stopped still goes on; at the agent's start, before anything else, those that one before it left.
///
/// # Errors
/// The record cannot be removed.
pub fn recover() -> Result<()> {
    go_on(&BTreeSet::new())
}

/// Whether containers are frozen for a snapshot, or were when an agent died.
pub fn is_under_way() -> bool {
    !state::is_absent(&record())
}

/// Does `work` if no container is frozen for a snapshot, and lets no snapshot freeze any in between. `None`: a snapshot has frozen them.
///
/// # Errors
/// Those of `work`.
pub fn outside_snapshot(work: impl FnOnce() -> Result<()>) -> Result<Option<()>> {
    let _change = changing();
    if is_under_way() { Ok(None) } else { work().map(Some) }
}

fn changing() -> MutexGuard<'static, ()> {
    CHANGING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn go_on(but: &BTreeSet<i32>) -> Result<()> {
    // Before the pool is mounted there is neither the directory nor the record.
    match state::json_in::<BTreeSet<String>>(Path::new(paths::STATE), RECORD) {
        State::Absent => return Ok(()),
        // What is frozen because of its size stays so.
        State::Value(ids) => start(&|groups| of(&ids, groups) && !held::is_group_held(groups), but),
        // Which ones stand is not known: all containers go on, for those that do not stand that is nothing.
        State::Unreadable(why) => {
            eprintln!("agent: {}", why.sentence());
            start(&|groups| is_container(groups) && !held::is_group_held(groups), but);
        }
    }
    fs::remove_file(record()).or_error(Kind::Node, || format!("cannot remove `{}`", record().display()))
}

/// The ids of those that run.
async fn running() -> Result<BTreeSet<String>> {
    let label = crate::wire::labels::LABEL_CONTAINER.to_owned();
    let filters = [("label".to_owned(), vec![label]), ("status".to_owned(), vec!["running".to_owned()])].into();
    let options = ListContainersOptionsBuilder::new().filters(&filters).build();
    let list = docker::connect().await?.list_containers(Some(options)).await;
    Ok(list.or_error(Kind::Node, || "cannot list containers".into())?.into_iter().filter_map(|fact| fact.id).collect())
}

fn record() -> PathBuf {
    Path::new(paths::STATE).join(RECORD)
}
