//! Writes in progress: packs are sent while the next pack is made. A file that names packs is written only after all of
//! them are on the disk.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::relay::IoFault;

/// The writes in progress.
#[derive(Default)]
pub struct InFlightWrites {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    under_way: usize,
    /// The first error. After it, nothing more is sent.
    failed: Option<IoFault>,
}

/// One write in progress. If it is dropped without a result, it counts as failed.
pub struct InFlightWrite {
    in_flight: Arc<InFlightWrites>,
    failure: IoFault,
    arrived: bool,
}

impl InFlightWrites {
    /// Starts a write. Waits until fewer than `most` writes are in progress.
    ///
    /// # Errors
    /// An earlier write failed.
    pub fn begin(self: &Arc<Self>, most: usize) -> io::Result<InFlightWrite> {
        self.wait(most - 1)?.under_way += 1;
        let failure = IoFault::Other(DISCONNECTED.into());
        Ok(InFlightWrite { in_flight: self.clone(), failure, arrived: false })
    }

    /// Waits until all writes have finished.
    ///
    /// # Errors
    /// A write failed.
    pub fn all(&self) -> io::Result<()> {
        self.wait(0).map(drop)
    }

    fn wait(&self, most: usize) -> io::Result<MutexGuard<'_, State>> {
        let busy = |state: &mut State| state.under_way > most && state.failed.is_none();
        let state = self.changed.wait_while(self.lock(), busy).unwrap_or_else(PoisonError::into_inner);
        match &state.failed {
            Some(fault) => Err(fault.clone().into()),
            None => Ok(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InFlightWrite {
    /// Records the result of the write.
    pub fn end(mut self, result: Result<(), io::Error>) {
        match result {
            Ok(()) => self.arrived = true,
            Err(error) => self.failure = error.into(),
        }
    }
}

impl Drop for InFlightWrite {
    fn drop(&mut self) {
        let mut state = self.in_flight.lock();
        state.under_way -= 1;
        if !self.arrived && state.failed.is_none() {
            state.failed = Some(self.failure.clone());
        }
        self.in_flight.changed.notify_all();
    }
}

/// The error after the connection has ended.
pub(super) const DISCONNECTED: &str = "the client disconnected";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_is_an_error_for_all_later_calls() {
        let in_flight = Arc::new(InFlightWrites::default());
        let (one, two) = (in_flight.begin(2).unwrap(), in_flight.begin(2).unwrap());
        one.end(Ok(()));
        let three = in_flight.begin(2).unwrap();
        let waiting = std::thread::spawn({
            let in_flight = in_flight.clone();
            move || in_flight.all()
        });
        two.end(Err(io::ErrorKind::StorageFull.into()));
        assert_eq!(waiting.join().unwrap().unwrap_err().kind(), io::ErrorKind::StorageFull);
        three.end(Ok(()));
        // The error remains, whatever finishes later.
        assert_eq!(in_flight.all().unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(in_flight.begin(2).map(drop).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_dropped_write_counts_as_failed() {
        let in_flight = Arc::new(InFlightWrites::default());
        in_flight.all().unwrap();
        drop(in_flight.begin(1).unwrap());
        assert!(in_flight.all().unwrap_err().to_string().contains("disconnected"));
    }
}
