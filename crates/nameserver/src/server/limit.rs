//! How many replies strangers get over UDP (response rate limiting). An address can be forged over UDP: what is answered to
//! it hits whoever really has it. Who is inside is not limited, and neither is TCP, where an address cannot be forged.
//!
//! A bucket for each network, as the generic cell rate algorithm (ITU-T I.371) keeps it: one number, when it will be empty
//! again. A fixed table of them needs no memory per client, so a flood with forged addresses cannot fill it; networks that
//! share a bucket share its rate.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Replies a second to one network: a busy resolver asks an authority for far less, since it remembers answers, and 1232
/// bytes that often are 1 Mbit/s.
const PER_SECOND: u64 = 100;
/// Replies in a row: an office behind one address that comes back to work.
const BURST: u64 = 200;
/// 128 KiB: enough that two networks seldom share one.
const BUCKETS: usize = 1 << 14;

/// Between two replies, in nanoseconds.
const STEP: u64 = 1_000_000_000 / PER_SECOND;

/// What becomes of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitVerdict {
    Send,
    /// Send it without its records and with TC: who really asked comes again over TCP, and who did not gets no more bytes
    /// than the forger sent.
    Slip,
    Drop,
}

/// The buckets of all networks.
pub struct Limit {
    /// When each is empty, in nanoseconds since the start, doubled; the lowest bit: the next reply too many is let slip.
    buckets: Box<[AtomicU64]>,
    /// Secret, so that nobody can choose networks that share a bucket with another.
    key: RandomState,
}

impl Default for Limit {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| AtomicU64::new(1)).collect(), key: RandomState::new() }
    }
}

impl Limit {
    /// Counts one reply to `client` at `now`, which is the time since the start.
    pub fn check(&self, client: IpAddr, now: Duration) -> LimitVerdict {
        let bucket = &self.buckets[self.key.hash_one(network(client)) as usize % BUCKETS];
        let now = now.as_nanos() as u64;
        let mut verdict = LimitVerdict::Send;
        let count = |bucket| {
            let (next, what) = count(bucket, now);
            verdict = what;
            Some(next)
        };
        let _ = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
        verdict
    }
}

/// What one forger or one site has in its hands: a /24 of IPv4, a /56 of IPv6 (RFC 6177).
fn network(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(address) => u64::from(u32::from(address) >> 8),
        IpAddr::V6(address) => (u128::from(address) >> 72) as u64 | 1 << 63,
    }
}

/// Counts one reply at `now` nanoseconds: the bucket after it, and what becomes of the reply.
fn count(bucket: u64, now: u64) -> (u64, LimitVerdict) {
    let (empty, slips) = (bucket >> 1, bucket & 1);
    let empty = empty.max(now);
    if empty - now <= (BURST - 1) * STEP {
        return ((empty + STEP) << 1 | slips, LimitVerdict::Send);
    }
    // Every second one, as is the custom: BIND's and Knot's "slip 2".
    (empty << 1 | (slips ^ 1), if slips == 1 { LimitVerdict::Slip } else { LimitVerdict::Drop })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn tally(limit: &Limit, client: &str, at: Duration, times: u64) -> (u64, u64, u64) {
        let client = client.parse().unwrap();
        (0..times).fold((0, 0, 0), |(sent, slipped, dropped), _| match limit.check(client, at) {
            LimitVerdict::Send => (sent + 1, slipped, dropped),
            LimitVerdict::Slip => (sent, slipped + 1, dropped),
            LimitVerdict::Drop => (sent, slipped, dropped + 1),
        })
    }

    #[test]
    fn a_burst_passes_and_then_a_steady_rate() {
        let limit = Limit::default();
        assert_eq!(tally(&limit, "203.0.113.1", SECOND, 1000), (200, 400, 400));
        assert_eq!(tally(&limit, "203.0.113.1", 2 * SECOND, 1000), (100, 450, 450), "a second later: a second's worth");
        assert_eq!(tally(&limit, "203.0.113.1", 60 * SECOND, 1000), (200, 400, 400), "it never saves up more");
    }

    #[test]
    fn the_first_reply_too_many_slips() {
        let limit = Limit::default();
        let client = "203.0.113.1".parse().unwrap();
        assert_eq!(tally(&limit, "203.0.113.1", SECOND, 200), (200, 0, 0));
        let more: Vec<_> = (0..4).map(|_| limit.check(client, SECOND)).collect();
        assert_eq!(more, [LimitVerdict::Slip, LimitVerdict::Drop, LimitVerdict::Slip, LimitVerdict::Drop]);
    }

    #[test]
    fn who_asks_slowly_never_notices() {
        let limit = Limit::default();
        let all = (0..10_000).map(|i| limit.check("2001:db8::1".parse().unwrap(), SECOND + i * SECOND / 100));
        assert!(all.into_iter().all(|verdict| verdict == LimitVerdict::Send));
    }

    #[test]
    fn a_clock_that_seems_to_go_back_harms_nobody() {
        let limit = Limit::default();
        assert_eq!(tally(&limit, "203.0.113.1", 10 * SECOND, 100), (100, 0, 0));
        // Two threads read the clock one after the other and come here the other way round.
        assert_eq!(tally(&limit, "203.0.113.1", 10 * SECOND - SECOND / 1000, 99), (99, 0, 0));
    }

    #[test]
    fn neighbours_share_what_others_do_not() {
        let same = |a: &str, b: &str| network(a.parse().unwrap()) == network(b.parse().unwrap());
        assert!(same("203.0.113.1", "203.0.113.254") && !same("203.0.113.1", "203.0.114.1"));
        assert!(same("::ffff:203.0.113.1", "203.0.113.2"), "as a socket of both kinds shows it");
        assert!(same("2001:db8:0:1200::1", "2001:db8:0:12ff::1") && !same("2001:db8:0:1200::1", "2001:db8:0:1300::1"));
        assert!(!same("::", "0.0.0.0"));
    }
}
