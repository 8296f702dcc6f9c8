//! Response rate limiting: limits the UDP replies to clients outside the configured networks. The source address of a
//! UDP packet can be forged, and the reply then reaches the owner of the address. Clients inside have no limit. TCP has
//! none either, because a TCP client proves its address.
//!
//! Each network has a bucket with the generic cell rate algorithm (ITU-T I.371). A bucket is one number: the time when
//! it is empty again. The table has a fixed size, so a flood from forged addresses cannot fill the memory. Networks
//! that share a bucket share its rate.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The replies per second to one network. A busy resolver sends fewer queries to one server, because it caches the
/// answers. At this rate, replies of 1232 bytes use 1 Mbit/s.
const PER_SECOND: u64 = 100;
/// The number of replies in a burst, for an office behind one address.
const BURST: u64 = 200;
/// The number of buckets (128 KiB). At this size, two networks seldom share a bucket.
const BUCKETS: usize = 1 << 14;

/// The time between two replies at the steady rate, in nanoseconds.
const STEP: u64 = 1_000_000_000 / PER_SECOND;

/// The decision for one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitVerdict {
    Send,
    /// Send the reply without its records and with TC. A real client then repeats the question over TCP. If the address
    /// was forged, its owner gets no more bytes than the forger sent.
    Slip,
    Drop,
}

/// The buckets of all networks.
pub struct Limit {
    /// For each bucket, the time when it is empty, in nanoseconds since the start, shifted left by one bit. The lowest
    /// bit says whether the next reply above the rate is sent as [`LimitVerdict::Slip`].
    buckets: Box<[AtomicU64]>,
    /// A random key, so that a client cannot choose networks that share a bucket with another network.
    key: RandomState,
}

impl Default for Limit {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| AtomicU64::new(1)).collect(), key: RandomState::new() }
    }
}

impl Limit {
    /// Counts one reply to `client`. `now` is the time since the server started.
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

/// Returns the network that one site can use: a /24 of IPv4, a /56 of IPv6 (RFC 6177).
fn network(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(address) => u64::from(u32::from(address) >> 8),
        IpAddr::V6(address) => (u128::from(address) >> 72) as u64 | 1 << 63,
    }
}

/// Counts one reply at `now` nanoseconds. Returns the new bucket and the decision.
fn count(bucket: u64, now: u64) -> (u64, LimitVerdict) {
    let (empty, slips) = (bucket >> 1, bucket & 1);
    let empty = empty.max(now);
    if empty - now <= (BURST - 1) * STEP {
        return ((empty + STEP) << 1 | slips, LimitVerdict::Send);
    }
    // Every second reply above the rate slips, as with "slip 2" of BIND and Knot.
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
    fn a_burst_is_sent_and_then_a_steady_rate() {
        let limit = Limit::default();
        assert_eq!(tally(&limit, "203.0.113.1", SECOND, 1000), (200, 400, 400));
        assert_eq!(
            tally(&limit, "203.0.113.1", 2 * SECOND, 1000),
            (100, 450, 450),
            "one second refills one second of replies"
        );
        assert_eq!(
            tally(&limit, "203.0.113.1", 60 * SECOND, 1000),
            (200, 400, 400),
            "a bucket never holds more than a burst"
        );
    }

    #[test]
    fn the_first_reply_above_the_rate_slips() {
        let limit = Limit::default();
        let client = "203.0.113.1".parse().unwrap();
        assert_eq!(tally(&limit, "203.0.113.1", SECOND, 200), (200, 0, 0));
        let more: Vec<_> = (0..4).map(|_| limit.check(client, SECOND)).collect();
        assert_eq!(more, [LimitVerdict::Slip, LimitVerdict::Drop, LimitVerdict::Slip, LimitVerdict::Drop]);
    }

    #[test]
    fn a_slow_client_is_never_limited() {
        let limit = Limit::default();
        let all = (0..10_000).map(|i| limit.check("2001:db8::1".parse().unwrap(), SECOND + i * SECOND / 100));
        assert!(all.into_iter().all(|verdict| verdict == LimitVerdict::Send));
    }

    #[test]
    fn a_clock_that_goes_backwards_limits_no_client() {
        let limit = Limit::default();
        assert_eq!(tally(&limit, "203.0.113.1", 10 * SECOND, 100), (100, 0, 0));
        // Two threads can read the clock in one order and reach the bucket in the other.
        assert_eq!(tally(&limit, "203.0.113.1", 10 * SECOND - SECOND / 1000, 99), (99, 0, 0));
    }

    #[test]
    fn clients_in_one_network_share_a_bucket() {
        let same = |a: &str, b: &str| network(a.parse().unwrap()) == network(b.parse().unwrap());
        assert!(same("203.0.113.1", "203.0.113.254") && !same("203.0.113.1", "203.0.114.1"));
        assert!(same("::ffff:203.0.113.1", "203.0.113.2"), "an IPv4 client on an IPv6 socket");
        assert!(same("2001:db8:0:1200::1", "2001:db8:0:12ff::1") && !same("2001:db8:0:1200::1", "2001:db8:0:1300::1"));
        assert!(!same("::", "0.0.0.0"));
    }
}
