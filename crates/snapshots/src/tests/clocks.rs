//! Tests with random clocks, against a model that knows the true time and the true order.

use super::*;
use crate::{
    keep::{Keep, SnapshotPolicy, decide},
    order::{Moment, Order, SnapshotCounter, key},
};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;
/// Saturday, 21 November 2026, 12:00 UTC.
const NOON: i64 = 1_795_262_400;
const KEEP: Keep = Keep { last: 3, hourly: 12, daily: 7, weekly: 4, monthly: 3 };

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

/// A snapshot, and the true time at which it was taken.
#[derive(Clone, Debug)]
struct Taken {
    meta: Meta,
    truly: i64,
}

struct Node {
    counter: SnapshotCounter,
    truly: i64,
    skew: i64,
    all: Vec<Taken>,
}

impl Node {
    fn new() -> Self {
        let counter = serde_json::from_str(r#"{ "line": "line", "last": 0, "ran": 0 }"#).unwrap();
        Self { counter, truly: NOON, skew: 0, all: Vec::new() }
    }

    fn passes(&mut self, seconds: i64) {
        self.truly += seconds;
        self.counter.ran += seconds.unsigned_abs();
    }

    fn clock(&self) -> i64 {
        self.truly + self.skew
    }

    fn moment(&self) -> Moment {
        Moment { at: self.clock(), line: Some("line".into()), ran: self.counter.ran }
    }

    fn take(&mut self, reason: Reason) {
        self.counter.last += 1;
        let (at, count) = (self.clock(), self.counter.last);
        let order = Order { line: "line".into(), count, ran: self.counter.ran, generation: None };
        let nth = u32::try_from(count + 1).unwrap();
        let (by, nested) = ("agent".to_owned(), Nested::default());
        let id = Id::new(at, nth);
        let meta = Meta { id, at, reason, note: None, by, current: None, pause: None, order: Some(order), nested };
        self.all.push(Taken { meta, truly: self.truly });
    }

    /// Returns the snapshots that the policy keeps, after the checks that must succeed for every clock.
    fn kept(&self, random: &mut Random) -> Vec<bool> {
        let mut listed: Vec<Meta> = self.all.iter().map(|taken| taken.meta.clone()).collect();
        for n in 0..listed.len() {
            listed.swap(n, usize::try_from(random.below(n as u64 + 1)).unwrap());
        }
        listed.sort_by_cached_key(|meta| key(meta.order.as_ref(), meta.at, &meta.id, Some(&self.counter)));
        let truth: Vec<Meta> = self.all.iter().map(|taken| taken.meta.clone()).collect();
        assert_eq!(listed, truth, "the order is that in which they were taken");
        let decisions = decide(&listed, &KEEP, &self.moment());
        let kept: Vec<bool> = decisions.iter().map(|decision| !decision.because.is_empty()).collect();
        let policy = SnapshotPolicy { every: Some(3600), keep: None };
        assert!(policy.due(&listed, self.clock()).unwrap() <= self.clock() + HOUR, "nothing puts the next one off");
        for (n, taken) in self.all.iter().enumerate() {
            let last = self.all.len() - n <= 3;
            let replaced = taken.meta.reason == Reason::Replaced && self.truly - taken.truly < 7 * DAY;
            assert!(kept[n] || !(last || replaced), "{taken:?} goes at {}", self.clock());
        }
        let counted = self.all.iter().zip(&kept).filter(|(taken, kept)| {
            let ahead = taken.meta.at > self.clock() + 300;
            **kept && !ahead && taken.meta.reason == Reason::Scheduled
        });
        assert!(counted.count() <= 3 + 2 * (12 + 7 + 4 + 3), "no clock makes the policy keep everything");
        kept
    }

    fn prune(&mut self, random: &mut Random) {
        let mut kept = self.kept(random).into_iter();
        self.all.retain(|_| kept.next().unwrap());
    }
}

#[test]
fn no_clock_changes_the_order_or_removes_a_new_snapshot() {
    for seed in 1..=150_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut node = Node::new();
        for _ in 0..300 {
            node.passes(random.one(&[60, HOUR, HOUR, 3 * HOUR, DAY]));
            match random.below(20) {
                0 => node.skew = random.one(&[0, 0, YEAR, 10 * YEAR, -YEAR, -NOON, 2 * HOUR, -2 * HOUR, 40 * DAY]),
                1 => node.take(Reason::Replaced),
                2..5 => node.prune(&mut random),
                _ => node.take(Reason::Scheduled),
            }
        }
    }
}

/// The rules that use only dates. They are correct as long as the clock is.
#[test]
fn with_a_correct_clock_the_rules_follow_the_calendar() {
    for seed in 1..=50_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut node = Node::new();
        for _ in 0..200 {
            node.passes(random.one(&[60, HOUR, 3 * HOUR, DAY]));
            node.take(Reason::Scheduled);
        }
        let kept = node.kept(&mut random);
        let mut model: Vec<bool> = (0..200).map(|n| n >= 197).collect();
        for (span, count) in [(HOUR, 12), (DAY, 7)] {
            let mut seen = BTreeSet::new();
            for (n, taken) in node.all.iter().enumerate().rev() {
                model[n] |= seen.len() < count && seen.insert(taken.truly.div_euclid(span));
            }
        }
        for (n, taken) in node.all.iter().enumerate() {
            assert!(kept[n] || !model[n], "{taken:?}");
        }
    }
}

/// The clock is wrong for some time, and correct again when the policy decides.
#[test]
fn days_before_and_after_a_wrong_clock_keep_their_snapshots() {
    for (seed, wrong) in (1..=24_u64).zip([YEAR, -YEAR, -NOON, 30 * YEAR, 2 * DAY, -3 * DAY].into_iter().cycle()) {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut node = Node::new();
        let begin = 1000 + random.below(80);
        let end = begin + random.below(48);
        for n in 0..1200 {
            node.passes(HOUR);
            node.skew = if (begin..end).contains(&n) { wrong } else { 0 };
            node.take(Reason::Scheduled);
            // The agent does this after each snapshot.
            node.prune(&mut random);
        }
        for day in [0, 1, 2, 3, 4, 5, 6, 13, 20] {
            let noon = node.truly - day * DAY;
            let close = if day < 7 { 2 * DAY } else { 10 * DAY };
            let near = |taken: &Taken| (taken.truly - noon).abs() <= close;
            assert!(node.all.iter().any(near), "seed {seed}, day {day}");
        }
    }
}

#[test]
fn latest_is_the_last_snapshot_even_with_unreadable_ones() {
    let pool = Pool::new();
    let path = pool.path();
    let at = |at| pool.take_at(at, &mut Fake::up()).unwrap();
    let (future, newest) = (at(NOON + 10 * YEAR), at(NOON));
    assert_eq!(find(&path, "latest").unwrap().id, newest.id);
    assert_eq!(
        list(&path).unwrap().iter().map(|meta| meta.id.clone()).collect::<Vec<_>>(),
        [future.id.clone(), newest.id.clone()]
    );
    // The snapshot before is unreadable. This does not matter, because the newest one is known.
    let file = |meta: &Meta| path.join("snapshots").join(meta.id.to_string()).join("meta.json");
    let text = fs::read(file(&future)).unwrap();
    fs::write(file(&future), "{").unwrap();
    assert_eq!(find(&path, "latest").unwrap().id, newest.id);
    fs::write(file(&future), text).unwrap();
    fs::write(file(&newest), "{").unwrap();
    assert_eq!(find(&path, "latest").unwrap_err().kind, Kind::Refused, "an older one is not the latest");
    // The snapshot of replaced data is the newest one too.
    let kept = pool.restore(&future.id, &mut Fake::up()).unwrap();
    assert_eq!(find(&path, "latest").unwrap().id, kept.id);
}
