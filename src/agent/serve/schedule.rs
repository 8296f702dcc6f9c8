//! Snapshots that are due.

use std::time::{Duration, Instant};

use lap_base::clock::now;

use super::agent::Agent;
use crate::{
    agent::{snapshots, system::blocking::run_blocking},
    wire::protocol::Holder,
};

/// How often the agent looks whether a snapshot is due.
const SCHEDULE: Duration = Duration::from_secs(5);
/// And when the last one could not be taken.
const AFTER_FAILURE: Duration = Duration::from_secs(300);

/// How often the agent writes down for how long it has run.
const COUNT: Duration = Duration::from_secs(3600);

/// Takes snapshots when they are due, for ever. One that was missed, because the node was off or somebody worked on it, is
/// taken as soon as it can be.
pub async fn schedule(agent: Agent) {
    let mut pause = SCHEDULE;
    let mut counted: Option<Instant> = None;
    loop {
        tokio::time::sleep(pause).await;
        pause = SCHEDULE;
        if counted.is_none_or(|at| at.elapsed() >= COUNT) {
            if let Err(error) = run_blocking(snapshots::count_time).await {
                eprintln!("agent: cannot count the time: {error}");
            }
            counted = Some(Instant::now());
        }
        match run_blocking(snapshots::is_due).await {
            Ok(true) => {}
            Ok(false) => continue,
            Err(error) => {
                eprintln!("agent: cannot decide whether a snapshot is due: {error}");
                pause = AFTER_FAILURE;
                continue;
            }
        }
        let holder = Holder { who: "agent".into(), verb: "snapshot".into(), pid: std::process::id() };
        let Ok(Ok(grant)) = agent.lock.take(&holder, now()) else { continue };
        if let Err(error) = agent.run_locked(grant, holder, |_| snapshots::take_due()).await {
            eprintln!("agent: the scheduled snapshot failed: {error}");
            pause = AFTER_FAILURE;
        }
    }
}
