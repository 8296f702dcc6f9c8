//! A cache of recently answered updates, against replays: a signed message that arrives again changes nothing (RFC
//! 8945, section 5.2.3). A client that lost the reply gets the same one.

use std::collections::HashMap;

use crate::server::tsig::FUDGE;

/// The length of the time in which a signature is valid: [`FUDGE`] before and after its own time.
const WINDOW: u64 = 2 * FUDGE as u64;
/// The maximum number of updates in one window. They need about 10 MB.
const MAX: usize = 1 << 18;

/// The recent signatures, with the response code of each.
#[derive(Debug, Default)]
pub struct ReplayCache {
    now: HashMap<u64, (u64, u16)>,
    before: HashMap<u64, (u64, u16)>,
    /// The start of the window of `now`.
    since: u64,
    /// Signatures of this time and earlier may have been removed from the cache.
    floor: u64,
}

/// The result of a look-up.
#[derive(Debug, PartialEq, Eq)]
pub enum SeenBefore {
    New,
    /// The message was answered with this response code.
    Answered(u16),
    /// The message may have been answered, but the cache no longer knows.
    Forgotten,
}

impl ReplayCache {
    /// Looks up a message by the time and the fingerprint of its signature.
    pub fn find(&self, time: u64, fingerprint: u64) -> SeenBefore {
        match self.now.get(&fingerprint).or_else(|| self.before.get(&fingerprint)) {
            Some((_, code)) => SeenBefore::Answered(*code),
            None if time <= self.floor => SeenBefore::Forgotten,
            None => SeenBefore::New,
        }
    }

    /// Stores the response code of an update that was answered at `now`.
    pub fn insert(&mut self, now: u64, time: u64, fingerprint: u64, code: u16) {
        if now.saturating_sub(self.since) > WINDOW {
            self.before = std::mem::take(&mut self.now);
            self.since = now;
        } else if self.now.len() >= MAX {
            // The cache is full. Signatures up to now are no longer accepted.
            self.before = std::mem::take(&mut self.now);
            self.floor = now.saturating_sub(1);
        }
        self.now.insert(fingerprint, (time, code));
    }

    /// Returns the entries that are still relevant at `now`: time, fingerprint, response code.
    pub fn iter(&self, now: u64) -> impl Iterator<Item = (u64, u64, u16)> {
        let all = self.before.iter().chain(&self.now);
        all.filter(move |(_, (time, _))| time + WINDOW >= now).map(|(mac, (time, code))| (*time, *mac, *code))
    }
}
