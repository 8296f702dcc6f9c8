//! Takes a snapshot: the containers' hooks around it, and what writers feel meanwhile.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use lap_base::{
    clock::now,
    error::{Error, Kind, Result},
};
use lap_snapshots as snapshot;
use lap_snapshots::{Meta, Nested, Pause, Reason, Stood};
use tokio::runtime::Handle;

use crate::{
    agent::{
        data::{freeze::Containers, hooks, io_latency, quota},
        docker::{self, running},
        pool::{path, reserve},
        recorded,
    },
    wire::{paths, protocol::Response},
};

/// How often it is tried to find a moment for a snapshot that keeps nobody waiting, and what is between two tries.
const ATTEMPTS: u32 = 5;
const BETWEEN: Duration = Duration::from_millis(500);

/// Takes a snapshot, between the containers' hooks.
///
/// # Errors
/// A hook failed, writers would wait for longer than `most`, or btrfs refuses: then there is none.
pub fn take(by: &str, reason: Reason, note: Option<String>, most: Option<Duration>) -> Result<Response> {
    let _room = reserve::open();
    let recorded = recorded::current();
    // Without its record the hooks of what runs are not known.
    let unknown = recorded.unreadable().map(|why| format!("lap ran no hooks: {}", why.sentence()));
    let (pool, current) = (path()?, recorded::describe(recorded));
    // Elsewhere it is not the file system's commit that they wait for, and what they do wait for has its own end.
    if let Some(most) = most.filter(|_| snapshot::is_btrfs(pool).unwrap_or(true)) {
        calm(pool, most)?;
    }
    let (id, at) = (snapshot::free_id(pool, now()), now());
    let order = Some(snapshot::order::next(pool, &id)?);
    let meta = Meta {
        id,
        at,
        reason,
        note,
        by: by.to_owned(),
        current: current.clone(),
        pause: None,
        order,
        nested: Nested::default(),
    };
    let taking = async {
        let mut micros = 0;
        let (taken, felt) = io_latency::during(Path::new(paths::STATE), || {
            let begun = Instant::now();
            let taken = snapshot::take(pool, &meta, &mut Containers::at_most(most));
            micros = begun.elapsed().as_micros() as u64;
            taken
        });
        Ok((taken?, micros, felt))
    };
    let wants_hooks = !hooks::of(current.as_ref(), &all_names(current.as_ref())).is_empty();
    let runtime = Handle::current();
    let mut unknown: Vec<String> = unknown.into_iter().collect();
    let ((taken, micros, felt), ran) = if wants_hooks {
        let docker = runtime.block_on(docker::connect())?;
        let mut running = running(&runtime)?;
        // Nothing can run in a container that is frozen, and its data does not change.
        let frozen = quota::frozen();
        let skipped = hooks::of(current.as_ref(), &frozen.iter().cloned().collect::<Vec<_>>());
        unknown.extend(skipped.iter().map(|hook| format!("lap ran no hooks of `{}`: it is frozen", hook.container())));
        running.retain(|container| !frozen.contains(container));
        runtime.block_on(hooks::around(&docker, hooks::of(current.as_ref(), &running), taking))?
    } else {
        // Docker is not even asked: a snapshot does not need it.
        (runtime.block_on(taking)?, Vec::new())
    };
    let mut complaints: Vec<String> = hooks::failures(&ran).map(str::to_owned).chain(unknown).collect();
    let pause = runtime.block_on(pause(felt, taken.stood, ran));
    let longest = Duration::from_micros(pause.longest());
    if let Some(most) = most.filter(|most| longest > *most) {
        let (longest, most) = (millis(longest), millis(most));
        complaints
            .push(format!("writers waited up to {longest}, longer than the limit of {most}; the snapshot is kept"));
    }
    complaints.extend(taken.nested.complaints());
    let meta = Meta { pause: Some(pause), nested: taken.nested, ..meta };
    snapshot::describe(pool, &meta)?;
    Ok(Response::Taken { meta, micros, complaints })
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// What was measured, in the containers' names.
async fn pause(felt: io_latency::IoLatency, still: Option<Stood>, hooks: Vec<snapshot::HookRan>) -> Pause {
    let micros = |time: Duration| time.as_micros() as u64;
    let names = if felt.stood.is_empty() { Default::default() } else { docker::names_by_id().await };
    let named = |(id, time): (String, Duration)| Some((names.get(&id)?.clone(), micros(time)));
    let containers = felt.stood.into_iter().filter_map(named).collect();
    Pause { probe: felt.probe.map(micros), containers, still, hooks }
}

/// Waits until a snapshot will keep nobody waiting for longer than `most`. What it costs is the file system's commit, so first
/// all that was written goes to the disk; how long writers wait for a commit right after that is what they will wait for
/// the snapshot's.
fn calm(pool: &Path, most: Duration) -> Result<()> {
    let mut expected = Duration::ZERO;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(BETWEEN);
        }
        snapshot::volume::sync(pool)?;
        let (synced, felt) = io_latency::during(Path::new(paths::STATE), || snapshot::volume::sync(pool));
        synced?;
        expected = felt.probe.unwrap_or(Duration::MAX);
        if expected <= most {
            return Ok(());
        }
    }
    let message = format!(
        "no snapshot was taken: writers would wait up to {}, longer than the limit of {}",
        millis(expected),
        millis(most)
    );
    Err(Error::new(Kind::Refused, message).hint("set a larger `--max-pause`, or try again when containers write less"))
}

fn all_names(current: Option<&serde_json::Value>) -> Vec<String> {
    let containers = current.and_then(|json| json.get("containers")).and_then(|all| all.as_object());
    containers.map(|all| all.keys().cloned().collect()).unwrap_or_default()
}
