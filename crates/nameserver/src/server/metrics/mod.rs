//! The server's counters. Each thread adds to counters on its own cache lines, so threads do not wait for each other. A
//! reader sums the counters while they change.

pub mod text;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{
    reply::Transport,
    wire::{self, HEADER, rcode, rtype},
};

/// The response codes that have their own counter (RFC 6895, section 2.3). The last entry counts all others.
const CODES: [&str; 13] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
    "NOTZONE", "BADVERS", "other",
];

/// The upper bounds of the histogram's buckets in nanoseconds. A local answer takes some µs, an answer from an upstream
/// some ms, and no client waits longer than 5 s.
const BOUNDS: [u64; 16] = [
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    10_000_000,
    25_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
];

/// The source of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The server's zones.
    Zones,
    /// An upstream server, or the cache.
    Upstreams,
    /// The store, when the change is on the disk.
    Store,
}

const BY: [&str; 3] = ["zones", "upstreams", "store"];
const TRANSPORTS: [&str; 2] = ["udp", "tcp"];

/// A counter that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A histogram of durations.
#[derive(Debug, Default)]
struct Histogram {
    /// The counts for each of [`BOUNDS`], and for longer durations.
    buckets: [Counter; BOUNDS.len() + 1],
    nanoseconds: Counter,
}

/// The counters of one thread, on their own cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Shard {
    queries: [Counter; TRANSPORTS.len()],
    responses: [Counter; CODES.len()],
    updates: [Counter; CODES.len()],
    durations: [Histogram; BY.len()],
    transfers: Counter,
    pub cache_hits: Counter,
    pub cache_misses: Counter,
    /// Forwarded questions that were cancelled or refused because of a quota.
    pub forwards_refused: Counter,
    /// Connections that were closed because of a quota.
    pub connections_closed: Counter,
    pub slipped: Counter,
    pub dropped: Counter,
}

impl Shard {
    /// Counts received messages.
    pub fn queries(&self, transport: Transport, count: usize) {
        self.queries[transport as usize].add(count as u64);
    }

    /// Counts a reply.
    pub fn response(&self, reply: &[u8]) {
        let code = index(reply);
        self.responses[code].add(1);
        if wire::opcode_of_reply(reply) == Some(wire::opcode::UPDATE) {
            self.updates[code].add(1);
        }
    }

    /// Counts a zone transfer. All its messages together count as one reply.
    pub fn transfer(&self) {
        self.transfers.add(1);
        self.responses[0].add(1);
    }

    /// Counts `count` replies that took `time` from the message to the reply.
    pub fn took(&self, by: By, time: Duration, count: usize) {
        let nanoseconds = time.as_nanos() as u64;
        let bucket = BOUNDS.iter().position(|bound| nanoseconds <= *bound).unwrap_or(BOUNDS.len());
        let histogram = &self.durations[by as usize];
        histogram.buckets[bucket].add(count as u64);
        histogram.nanoseconds.add(nanoseconds * count as u64);
    }
}

/// Returns the index in [`CODES`] of a reply's response code.
fn index(reply: &[u8]) -> usize {
    let low = usize::from(reply.get(3).copied().unwrap_or(0) & 15);
    // BADVERS is the only code of this server with more than 4 bits. Its upper bits are in the OPT record (RFC 6891,
    // section 6.1.3).
    let (answers, additionals) = (wire::u16_at(reply, 6), wire::u16_at(reply, 10));
    if low == 0 && answers == Some(0) && additionals == Some(1) && extended(reply) == Some(rcode::BADVERS >> 4) {
        return 11;
    }
    if low < 11 { low } else { CODES.len() - 1 }
}

fn extended(reply: &[u8]) -> Option<u16> {
    let opt = reply.len().checked_sub(11).filter(|at| *at >= HEADER)?;
    (reply[opt] == 0 && wire::u16_at(reply, opt + 1) == Some(rtype::OPT)).then(|| u16::from(reply[opt + 5]))
}

/// All counters of a server.
#[derive(Debug)]
pub struct Metrics(Box<[Shard]>);

impl Default for Metrics {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Metrics {
    /// Makes a shard for each of `threads` threads, and a common one for the async runtime.
    pub fn new(threads: usize) -> Self {
        Self((0..=threads).map(|_| Shard::default()).collect())
    }

    /// Returns the shard that threads without their own shard use.
    pub fn common(&self) -> &Shard {
        &self.0[0]
    }

    /// Returns the shard of one thread, counted from 0.
    pub fn shard(&self, thread: usize) -> &Shard {
        &self.0[(thread + 1).min(self.0.len() - 1)]
    }

    fn sum(&self, of: impl Fn(&Shard) -> &Counter) -> u64 {
        self.0.iter().map(|shard| of(shard).get()).sum()
    }
}
