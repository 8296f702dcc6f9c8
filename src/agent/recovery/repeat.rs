//! The agent brings what was interrupted to its end by itself: at its start, and whenever a way back did not go through. It tries again until
//! it is done, under the lock, with a growing pause between two tries. In a pause the lock is free, so that an operator can look and make
//! room; a command that changes something is then itself a try.

use std::time::Duration;

use lap_base::{
    clock::now,
    error::{Kind, OrError, Result},
};

use super::{containers::recover_containers, pending::is_pending, progress::RecoveryProgress};
use crate::{
    agent::{
        daemons::ports,
        lock::{Grant, NodeLock},
        prune, snapshots,
        switch::{self, LastSwitch},
        system::blocking::run_blocking,
    },
    release,
    wire::protocol::{Holder, Response},
};

/// How often the agent looks whether something was left, and the first pause between two tries.
const LOOK: Duration = Duration::from_secs(1);
/// The longest pause between two tries.
const MOST: Duration = Duration::from_secs(30);

/// Recovers for ever.
#[derive(Clone)]
pub struct Recovery {
    pub lock: NodeLock,
    pub progress: RecoveryProgress,
    pub switch: LastSwitch,
}

impl Recovery {
    /// Recovers for ever; `at_boot`: the lock, taken before anybody else could have it, because something is pending.
    pub async fn run(self, at_boot: Option<Grant>) {
        let mut grant = at_boot;
        if grant.is_some() {
            self.progress.begin();
        }
        let mut pause = LOOK;
        loop {
            if let Some(held) = grant.take() {
                let recovery = self.clone();
                // In a task of its own: one that falls over is a try that failed.
                let tried = tokio::spawn(async move { recovery.attempt(held).await }).await;
                pause = match tried.or_error(Kind::Other, || "the agent".into()).and_then(|tried| tried) {
                    Ok(()) => LOOK,
                    Err(error) => {
                        if self.progress.failed(&error) {
                            eprintln!("agent: {error}; trying again");
                        }
                        (pause * 2).min(MOST)
                    }
                };
            }
            if !is_pending() {
                self.recovered();
                pause = LOOK;
            }
            tokio::time::sleep(pause).await;
            if is_pending() {
                let taken = self.lock.take(&Holder::recovery(), now()).ok().and_then(std::result::Result::ok);
                // The command that held the lock may have ended it.
                grant = taken.filter(|_| is_pending());
            }
        }
    }

    /// One try. What does not depend on what failed is done all the same.
    async fn attempt(&self, held: Grant) -> Result<()> {
        self.progress.begin();
        let first = self.progress.current().is_none_or(|known| known.tries == 0);
        let watch = self.progress.watch();
        if switch::is_pending() {
            // `lap promote --resume` watches this switch as it watches any other.
            self.switch.set(watch.clone());
        }
        ports::free_leaked().await?;
        let containers = recover_containers(first).await;
        let layers = run_blocking(prune::recover).await;
        // A switch is taken back on whole data.
        let switched = if snapshots::is_pending() { Ok(None) } else { switch::recover(&watch, first).await };
        for said in switched.iter().flatten() {
            eprintln!("agent: {said}");
        }
        drop(held);
        containers.and(switched.map(drop)).and(layers)
    }

    /// Nothing is pending any more, whoever ended it.
    fn recovered(&self) {
        let Some((was, watch)) = self.progress.clear() else { return };
        if was.tries > 0 {
            eprintln!("agent: the interrupted operation is complete after {} s", now() - was.since);
        }
        let Some(watch) = watch else { return };
        let newest = release::newest(&switch::ledger());
        watch.end(
            newest.map_or_else(Response::from, |(entry, hash)| Response::Switched { entry: Box::new(entry), hash }),
        );
    }
}
