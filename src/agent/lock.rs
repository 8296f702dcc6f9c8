//! The node's lock: one holder at a time, known by name, gone with its connection.
//!
//! Each grant has a fencing number that never comes again (up to which they are given out lies in `state`). Whoever lost the
//! lock — its machine slept, its network broke — finds every connection that carried its number cut, and is refused from
//! then on.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use lap_base::{
    clock::now,
    durable::try_write_file,
    error::{Error, Kind, OrError, Result},
    random::random,
    state::{self, State, Unreadable},
};
use tokio::sync::{Notify, watch};

use crate::wire::protocol::Holder;

/// The lock of one node.
#[derive(Clone)]
pub struct NodeLock {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    state: Mutex<LockState>,
    /// The current fencing number; 0: nobody holds the lock.
    current: watch::Sender<u64>,
    freed: Notify,
}

/// How many numbers are set aside at once: a lock costs no write then, and can be had where the disk is full.
const SET_ASIDE: u64 = 1024;

struct LockState {
    last: u64,
    /// The last one that may be given out; after a start, those up to it are counted as given.
    reserved: u64,
    held: Option<(Holder, i64)>,
    /// The last number is there but cannot be read: going on could give a number twice.
    unreadable: Option<Unreadable>,
}

impl LockState {
    fn read(path: &Path) -> Self {
        let hint = "move the file away on the node (`lap ssh NODE`): the next command begins with new numbers";
        let read: State<u64> = state::word(path).hint(hint);
        // The file was moved away: containers and the ledger still have its numbers.
        let is_lost =
            read.is_absent() && path.parent().is_some_and(|state| !state::is_absent(&state.join("journal.jsonl")));
        let (last, unreadable) = read.value_and_complaint();
        let last = last.unwrap_or(if is_lost { after_all(now()) } else { 0 });
        Self { last, reserved: last, held: None, unreadable }
    }
}

/// The right to change the node; ends when it is dropped.
pub struct Grant {
    inner: Arc<Inner>,
    /// The fencing number.
    pub fence: u64,
}

impl NodeLock {
    /// The lock whose numbers are kept in `state`. If they cannot be read, nobody gets it.
    pub fn open(state: &Path) -> Self {
        let path = state.join("fence");
        let state = Mutex::new(LockState::read(&path));
        Self { inner: Arc::new(Inner { path, state, current: watch::Sender::new(0), freed: Notify::new() }) }
    }

    /// Takes the lock, or says who has it and since when.
    ///
    /// # Errors
    /// The numbers cannot be read, or new ones cannot be set aside: without that the lock is not given.
    pub fn take(&self, holder: &Holder, now: i64) -> Result<std::result::Result<Grant, (Holder, i64)>> {
        let mut state = self.state();
        if state.unreadable.is_some() {
            *state = LockState::read(&self.inner.path);
        }
        if let Some(why) = &state.unreadable {
            return Err(why.clone().into());
        }
        if let Some(held) = &state.held {
            return Ok(Err(held.clone()));
        }
        if state.last == state.reserved {
            let reserved = state.last + SET_ASIDE;
            match try_write_file(&self.inner.path, format!("{reserved}\n").as_bytes(), 0o600) {
                Ok(()) => state.reserved = reserved,
                // Whoever wants to make room needs the lock: from a place that nobody draws twice, and that no file ever gets to.
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                    state.last = out_of_the_way()?;
                    state.reserved = state.last + SET_ASIDE;
                }
                error => error.or_error(Kind::Node, || format!("cannot write `{}`", self.inner.path.display()))?,
            }
        }
        let fence = state.last + 1;
        state.last = fence;
        state.held = Some((holder.clone(), now));
        self.inner.current.send_replace(fence);
        Ok(Ok(Grant { inner: self.inner.clone(), fence }))
    }

    /// Returns when the lock may have become free.
    pub async fn freed(&self) {
        let freed = self.inner.freed.notified();
        if self.state().held.is_none() {
            return;
        }
        freed.await;
    }

    /// Why nobody gets it.
    pub fn unreadable(&self) -> Option<Unreadable> {
        self.state().unreadable.clone()
    }

    /// Who holds it, since when (unix seconds).
    pub fn held(&self) -> Option<(Holder, i64)> {
        self.state().held.clone()
    }

    /// Looks at something that only a holder of the lock changes. `None`: the lock is held.
    pub fn while_free<T>(&self, look: impl FnOnce() -> T) -> Option<T> {
        let state = self.state();
        state.held.is_none().then(look)
    }

    /// Whether `fence` is the number of the present holder.
    ///
    /// # Errors
    /// It is not: the caller lost the lock and must not change anything.
    pub fn check(&self, fence: u64) -> Result<()> {
        if fence != 0 && *self.inner.current.borrow() == fence {
            return Ok(());
        }
        let by = self.held().map_or("no command holds it now".into(), |(holder, _)| {
            format!("`{}` holds it now for `{}`", holder.who, holder.verb)
        });
        Err(Error::new(Kind::Locked, format!("the lock under which this began is lost; {by}"))
            .hint("run the command again: it continues from the present state of the node"))
    }

    /// Returns when `fence` is no longer the present holder's number.
    pub async fn lost(&self, fence: u64) {
        let mut current = self.inner.current.subscribe();
        // The sender lives in `self`: an error cannot come.
        let _ = current.wait_for(|&now| now != fence).await;
    }

    fn state(&self) -> MutexGuard<'_, LockState> {
        self.inner.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A number above all that a counter from 1 reaches, and above those that this gave before.
fn after_all(now: i64) -> u64 {
    u64::try_from(now).unwrap_or(0) << 20
}

/// A number in the upper half.
fn out_of_the_way() -> Result<u64> {
    Ok((1 << 63) | (u64::from_ne_bytes(random()?) >> 2))
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.inner.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner).held = None;
        self.inner.current.send_replace(0);
        self.inner.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn holder(who: &str) -> Holder {
        Holder { who: who.into(), verb: "up".into(), pid: 1 }
    }

    #[tokio::test]
    async fn one_holder_and_numbers_that_never_come_again() {
        let dir = tempfile::tempdir().unwrap();
        let lock = NodeLock::open(dir.path());
        let first = lock.take(&holder("anna"), 5).unwrap().ok().unwrap();
        assert_eq!(first.fence, 1);
        assert!(lock.take(&holder("ben"), 6).unwrap().is_err());
        assert_eq!(lock.held().unwrap().0.who, "anna");
        lock.check(1).unwrap();
        assert_eq!(lock.while_free(|| true), None, "its holder may be in the middle of a change");
        drop(first);
        assert_eq!(lock.while_free(|| true), Some(true));
        tokio::time::timeout(std::time::Duration::from_secs(1), lock.lost(1)).await.unwrap();
        let second = lock.take(&holder("ben"), 7).unwrap().ok().unwrap();
        assert_eq!(second.fence, 2);
        let refused = lock.check(1).unwrap_err();
        assert_eq!(refused.kind, Kind::Locked);
        assert!(refused.message.contains("`ben` holds it now"), "{refused}");
        drop(second);
        let reopened = NodeLock::open(dir.path());
        assert_eq!(reopened.take(&holder("anna"), 8).unwrap().ok().unwrap().fence, SET_ASIDE + 1);
    }

    #[test]
    fn numbers_are_set_aside_before_they_are_given() {
        let dir = tempfile::tempdir().unwrap();
        let on_disk = || fs::read_to_string(dir.path().join("fence")).unwrap().trim().parse::<u64>().unwrap();
        let lock = NodeLock::open(dir.path());
        for expected in 1..=SET_ASIDE + 2 {
            let grant = lock.take(&holder("anna"), 5).unwrap().ok().unwrap();
            assert_eq!(grant.fence, expected);
            assert!(on_disk() >= expected);
        }
        assert_eq!(on_disk(), 2 * SET_ASIDE);

        // Nothing can be written any more: what is set aside is given out, and nothing beyond.
        fs::remove_dir_all(dir.path()).unwrap();
        for _ in SET_ASIDE + 2..2 * SET_ASIDE {
            lock.take(&holder("anna"), 5).unwrap().ok().unwrap();
        }
        assert!(lock.take(&holder("anna"), 5).is_err());
    }

    #[test]
    fn without_its_numbers_nobody_gets_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("fence");
        fs::write(&file, "12x").unwrap();
        let lock = NodeLock::open(dir.path());
        assert!(lock.unreadable().unwrap().sentence().contains("fence"));
        let error = lock.take(&holder("anna"), 5).err().unwrap();
        assert_eq!((error.kind, lock.held().is_none()), (Kind::Refused, true));
        fs::write(&file, "12").unwrap();
        assert_eq!(lock.take(&holder("anna"), 5).unwrap().ok().unwrap().fence, 13);
        assert!(lock.unreadable().is_none());
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let dir = tempfile::tempdir().unwrap();
        let lock = NodeLock::open(dir.path());
        let grant = lock.take(&holder("anna"), 5).unwrap().ok().unwrap();
        let waiting = tokio::spawn({
            let lock = lock.clone();
            async move { lock.freed().await }
        });
        tokio::task::yield_now().await;
        drop(grant);
        tokio::time::timeout(std::time::Duration::from_secs(1), waiting).await.unwrap().unwrap();
    }

    /// A container that a switch made keeps the number of that switch: a number that is given twice would make an old container a new one.
    #[test]
    fn a_lost_file_of_numbers_gives_no_number_again() {
        let dir = tempfile::tempdir().unwrap();
        let take = || NodeLock::open(dir.path()).take(&holder("anna"), 1).unwrap().ok().unwrap().fence;
        assert_eq!(take(), 1, "a new node");
        fs::write(dir.path().join("journal.jsonl"), "").unwrap();
        let before = take();
        fs::remove_file(dir.path().join("fence")).unwrap();
        let after = take();
        assert!(after > before + (1 << 40), "{after}");
        assert!(take() > after);
    }
}
