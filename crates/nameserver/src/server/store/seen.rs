//! Updates that were answered lately: a signed message that comes again changes nothing (RFC 8945, section 5.2.3), and a
//! client that did not hear the answer gets the same one.

use std::collections::HashMap;

use crate::server::tsig::FUDGE;

/// A signature counts this long before and after the time in it.
const WINDOW: u64 = 2 * FUDGE as u64;
/// How many are remembered of one window: some 10 MB.
const MAX: usize = 1 << 18;

/// What was answered to which signature.
#[derive(Debug, Default)]
pub struct ReplayCache {
    now: HashMap<u64, (u64, u16)>,
    before: HashMap<u64, (u64, u16)>,
    /// When `now` began.
    since: u64,
    /// What was signed then or earlier may have been forgotten.
    floor: u64,
}

/// What is known of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum SeenBefore {
    New,
    /// It was answered with this code.
    Answered(u16),
    /// It may have been answered.
    Forgotten,
}

impl ReplayCache {
    /// Looks up a message by when it was signed and by its signature.
    pub fn find(&self, time: u64, fingerprint: u64) -> SeenBefore {
        match self.now.get(&fingerprint).or_else(|| self.before.get(&fingerprint)) {
            Some((_, code)) => SeenBefore::Answered(*code),
            None if time <= self.floor => SeenBefore::Forgotten,
            None => SeenBefore::New,
        }
    }

    /// Remembers an answer given at `now`.
    pub fn insert(&mut self, now: u64, time: u64, fingerprint: u64, code: u16) {
        if now.saturating_sub(self.since) > WINDOW {
            self.before = std::mem::take(&mut self.now);
            self.since = now;
        } else if self.now.len() >= MAX {
            // No room for more: what is signed up to now counts no longer.
            self.before = std::mem::take(&mut self.now);
            self.floor = now.saturating_sub(1);
        }
        self.now.insert(fingerprint, (time, code));
    }

    /// All that still counts at `now`: (time, signature, code).
    pub fn iter(&self, now: u64) -> impl Iterator<Item = (u64, u64, u16)> {
        let all = self.before.iter().chain(&self.now);
        all.filter(move |(_, (time, _))| time + WINDOW >= now).map(|(mac, (time, code))| (*time, *mac, *code))
    }
}
