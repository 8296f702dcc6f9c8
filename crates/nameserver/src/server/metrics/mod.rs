//! What the server counts. Counting is adding to a number on a cache line of the own thread: nobody waits, and whoever reads
//! the sum reads it while it grows.

pub mod text;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{
    reply::Transport,
    wire::{self, HEADER, rcode, rtype},
};

/// The codes that are counted by name (RFC 6895, section 2.3); the last entry is for all others.
const CODES: [&str; 13] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
    "NOTZONE", "BADVERS", "other",
];

/// The upper ends of the durations that are told apart, in nanoseconds: a local answer takes some µs, one from an upstream
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

/// Who found the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// This server, from its zones.
    Zones,
    /// The upstreams, or the cache of what they said.
    Upstreams,
    /// The store, once the change was on the disk.
    Store,
}

const BY: [&str; 3] = ["zones", "upstreams", "store"];
const TRANSPORTS: [&str; 2] = ["udp", "tcp"];

/// A number that only grows.
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

/// How long something took.
#[derive(Debug, Default)]
struct Histogram {
    /// Those up to each of [`BOUNDS`], and beyond.
    buckets: [Counter; BOUNDS.len() + 1],
    nanoseconds: Counter,
}

/// One thread's numbers, on cache lines of its own.
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
    /// Questions that were given up, or not asked, because others had the places.
    pub forwards_refused: Counter,
    /// Connections likewise.
    pub connections_closed: Counter,
    pub slipped: Counter,
    pub dropped: Counter,
}

impl Shard {
    /// So many messages came.
    pub fn queries(&self, transport: Transport, count: usize) {
        self.queries[transport as usize].add(count as u64);
    }

    /// A reply goes out.
    pub fn response(&self, reply: &[u8]) {
        let code = index(reply);
        self.responses[code].add(1);
        if wire::opcode_of_reply(reply) == Some(wire::opcode::UPDATE) {
            self.updates[code].add(1);
        }
    }

    /// A transfer goes out; its parts are one reply.
    pub fn transfer(&self) {
        self.transfers.add(1);
        self.responses[0].add(1);
    }

    /// So many replies took so long, from the message to the reply.
    pub fn took(&self, by: By, time: Duration, count: usize) {
        let nanoseconds = time.as_nanos() as u64;
        let bucket = BOUNDS.iter().position(|bound| nanoseconds <= *bound).unwrap_or(BOUNDS.len());
        let histogram = &self.durations[by as usize];
        histogram.buckets[bucket].add(count as u64);
        histogram.nanoseconds.add(nanoseconds * count as u64);
    }
}

/// Which of [`CODES`] a reply has.
fn index(reply: &[u8]) -> usize {
    let low = usize::from(reply.get(3).copied().unwrap_or(0) & 15);
    // The only code of ours that needs more bits stands in the OPT record (RFC 6891, section 6.1.3).
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

/// All numbers of a server.
#[derive(Debug)]
pub struct Metrics(Box<[Shard]>);

impl Default for Metrics {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Metrics {
    /// For so many threads of their own, and the runtime's.
    pub fn new(threads: usize) -> Self {
        Self((0..=threads).map(|_| Shard::default()).collect())
    }

    /// The shard that threads without one of their own share.
    pub fn common(&self) -> &Shard {
        &self.0[0]
    }

    /// The shard of one thread, counted from 0.
    pub fn shard(&self, thread: usize) -> &Shard {
        &self.0[(thread + 1).min(self.0.len() - 1)]
    }

    fn sum(&self, of: impl Fn(&Shard) -> &Counter) -> u64 {
        self.0.iter().map(|shard| of(shard).get()).sum()
    }
}
