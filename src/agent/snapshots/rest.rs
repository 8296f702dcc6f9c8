//! What a restore of a part leaves to do once its containers run again: nobody waits for it but who looks at snapshots or changes them
//! next. If the agent dies meanwhile, the next one does it when it starts, as with every restore.

use std::{
    sync::{Mutex, PoisonError, TryLockError},
    thread::{self, JoinHandle},
};

use bollard::Docker;
use lap_snapshots::{Meta, only::Rest};

use super::node::NodeWorld;

static UNDER_WAY: Mutex<Option<JoinHandle<()>>> = Mutex::new(None);

/// Begins with it; gives back the snapshot that there will be.
pub fn later(docker: Docker, (kept, rest): (Meta, Option<Rest>)) -> Meta {
    let Some(rest) = rest else { return kept };
    let mut under_way = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
    let log = |step: &str| eprintln!("agent: restore: {step}");
    let runtime = tokio::runtime::Handle::current();
    *under_way = Some(thread::spawn(move || {
        let _entered = runtime.enter();
        if let Err(error) = rest.finish(&mut NodeWorld::new(Some(docker), Box::new(log))) {
            eprintln!("agent: restore: {error}; trying again");
        }
    }));
    kept
}

/// Whether it is under way.
pub fn is_under_way() -> bool {
    match UNDER_WAY.try_lock() {
        Ok(under_way) => under_way.as_ref().is_some_and(|thread| !thread.is_finished()),
        Err(TryLockError::Poisoned(under_way)) => under_way.into_inner().is_some(),
        // It is being waited for.
        Err(TryLockError::WouldBlock) => true,
    }
}

/// Returns when nothing of it is under way.
pub fn wait() {
    let mut under_way = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(thread) = under_way.take() {
        // What it had to say it has said.
        let _ = thread.join();
    }
}
