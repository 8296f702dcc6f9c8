//! What is known of the recovery that is under way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lap_base::{clock::now, error::Error};

use crate::{agent::switch::SwitchWatch, wire::protocol::Recovering};

/// What is known of the recovery that is under way.
#[derive(Clone, Default)]
pub struct RecoveryProgress(Arc<Mutex<State>>);

impl RecoveryProgress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tries so far.
    pub fn current(&self) -> Option<Recovering> {
        self.state().known.clone()
    }

    /// Begins, unless it has begun.
    pub fn begin(&self) {
        self.state().known.get_or_insert_with(|| Recovering { since: now(), tries: 0, error: None });
    }

    /// Notes a try that failed; gives whether that is news.
    pub fn failed(&self, error: &Error) -> bool {
        let mut state = self.state();
        let known = state.known.get_or_insert_with(|| Recovering { since: now(), tries: 0, error: None });
        known.tries += 1;
        let news = known.error.as_deref() != Some(&error.message);
        known.error = Some(error.message.clone());
        news
    }

    /// The same one in every try, so that a watcher stays to the end.
    pub fn watch(&self) -> SwitchWatch {
        self.state().watch.get_or_insert_default().clone()
    }

    /// Forgets it, and returns what was known.
    pub fn clear(&self) -> Option<(Recovering, Option<SwitchWatch>)> {
        let mut state = self.state();
        let watch = state.watch.take();
        Some((state.known.take()?, watch))
    }
}

#[derive(Default)]
struct State {
    known: Option<Recovering>,
    /// Whoever watches the switch that is recovered.
    watch: Option<SwitchWatch>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use lap_base::error::Kind;

    #[test]
    fn a_failure_is_told_once_and_counted_each_time() {
        let recovery = RecoveryProgress::default();
        recovery.begin();
        let (port, disk) = (Error::new(Kind::Node, "the port is taken"), Error::new(Kind::Node, "the disk is full"));
        assert_eq!([&port, &port, &disk, &disk].map(|error| recovery.failed(error)), [true, false, true, false]);
        let known = recovery.current().unwrap();
        assert_eq!((known.tries, known.error.as_deref()), (4, Some("the disk is full")));
        recovery.clear();
        assert_eq!(recovery.current(), None);
    }
}
