//! The agent brings what was interrupted to its end by itself: at its start, and whenever a way back did not go through. It tries again until
//! it is done, under the lock, with a growing pause between two tries. In a pause the lock is free, so that an operator can look and make
//! room; a command that changes something is then itself a try.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    lock::Grant,
    ports, prune,
    serve::Agent,
    snapshots,
    switch::{self, Watch, aside},
};
use crate::{
    clock::now,
    error::{Error, Kind, OrError, Result},
    release,
    wire::protocol::{Answer, Holder, Recovering},
};

/// How often the agent looks whether something was left, and the first pause between two tries.
const LOOK: Duration = Duration::from_secs(1);
/// The longest pause between two tries.
const MOST: Duration = Duration::from_secs(30);

/// What is known of the recovery that is under way.
#[derive(Clone, Default)]
pub struct Recovery(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    known: Option<Recovering>,
    /// Whoever watches the switch that is recovered.
    watch: Option<Watch>,
}

impl Recovery {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tries so far.
    fn look(&self) -> Option<Recovering> {
        self.state().known.clone()
    }

    fn begin(&self) {
        self.state().known.get_or_insert_with(|| Recovering { since: now(), tries: 0, error: None });
    }

    /// Notes a try that failed; gives whether that is news.
    fn failed(&self, error: &Error) -> bool {
        let mut state = self.state();
        let known = state.known.get_or_insert_with(|| Recovering { since: now(), tries: 0, error: None });
        known.tries += 1;
        let news = known.error.as_deref() != Some(&error.message);
        known.error = Some(error.message.clone());
        news
    }

    /// The same one in every try, so that a watcher stays to the end.
    fn watch(&self) -> Watch {
        self.state().watch.get_or_insert_default().clone()
    }

    fn clear(&self) -> Option<(Recovering, Option<Watch>)> {
        let mut state = self.state();
        let watch = state.watch.take();
        Some((state.known.take()?, watch))
    }
}

/// Whether something waits for its end that no running command works on.
pub fn is_pending() -> bool {
    !snapshots::is_busy()
        && (snapshots::needs_containers() || switch::is_pending() || prune::is_pending() || ports::are_leaked())
}

impl Agent {
    /// What waits for its end, for `lap status`: also before the first try, so that no interruption looks healthy.
    pub(super) fn recovering(&self) -> Option<Recovering> {
        let waits = || self.lock.while_free(is_pending).unwrap_or_default();
        self.recovery.look().or_else(|| waits().then(|| Recovering { since: now(), tries: 0, error: None }))
    }

    /// Recovers for ever; `at_boot`: the lock, taken before anybody else could have it, because something is pending.
    pub async fn recover(self, at_boot: Option<Grant>) {
        let mut grant = at_boot;
        if grant.is_some() {
            self.recovery.begin();
        }
        let mut pause = LOOK;
        loop {
            if let Some(held) = grant.take() {
                let agent = self.clone();
                // In a task of its own: one that falls over is a try that failed.
                let tried = tokio::spawn(async move { agent.attempt(held).await }).await;
                pause = match tried.or_error(Kind::Other, || "the agent".into()).and_then(|tried| tried) {
                    Ok(()) => LOOK,
                    Err(error) => {
                        if self.recovery.failed(&error) {
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
        self.recovery.begin();
        let first = self.recovery.look().is_none_or(|known| known.tries == 0);
        let watch = self.recovery.watch();
        if switch::is_pending() {
            // `lap promote --resume` watches this switch as it watches any other.
            *self.watch() = Some(watch.clone());
        }
        ports::free_leaked().await?;
        let containers = snapshots::recover_containers(first).await;
        let layers = aside(prune::recover).await;
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
        let Some((was, watch)) = self.recovery.clear() else { return };
        if was.tries > 0 {
            eprintln!("agent: the interrupted operation is complete after {} s", now() - was.since);
        }
        let Some(watch) = watch else { return };
        let newest = release::newest(&switch::ledger());
        watch.end(newest.map_or_else(Answer::from, |(entry, hash)| Answer::Switched { entry: Box::new(entry), hash }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_once_and_counted_each_time() {
        let recovery = Recovery::default();
        recovery.begin();
        let (port, disk) = (Error::new(Kind::Node, "the port is taken"), Error::new(Kind::Node, "the disk is full"));
        assert_eq!([&port, &port, &disk, &disk].map(|error| recovery.failed(error)), [true, false, true, false]);
        let known = recovery.look().unwrap();
        assert_eq!((known.tries, known.error.as_deref()), (4, Some("the disk is full")));
        recovery.clear();
        assert_eq!(recovery.look(), None);
    }
}
