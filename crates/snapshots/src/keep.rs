//! Retention: a policy, and for each snapshot the reasons to keep it. This module is pure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{
    dates::dates,
    id::Id,
    meta::{Meta, Reason},
    order::Moment,
};

/// The settings `[snapshot]` of `lap.toml`, as the agent gets them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPolicy {
    /// The time between automatic snapshots in seconds. `None` means that there are none.
    pub every: Option<u64>,
    /// The snapshots to keep. `None` means that nothing is removed automatically.
    pub keep: Option<Keep>,
}

/// The number of automatic snapshots to keep: the last ones, and the newest one of each hour, day, week and month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    pub last: u32,
    pub hourly: u32,
    pub daily: u32,
    pub weekly: u32,
    pub monthly: u32,
}

/// The decision about one snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionDecision {
    pub id: Id,
    /// The reasons to keep it. An empty list means that it is removed.
    pub because: Vec<String>,
}

impl SnapshotPolicy {
    /// Returns the time of the next snapshot in Unix seconds, or `None` if there are no automatic snapshots. The oldest
    /// snapshot comes first.
    pub fn due(&self, snapshots: &[Meta], now: i64) -> Option<i64> {
        // A snapshot from the future (after a wrong clock, or from an archive) does not delay the next one.
        let newest = snapshots.iter().rev().map(|meta| meta.at).find(|at| *at <= now);
        self.every.map(|every| newest.map_or(0, |at| at.saturating_add_unsigned(every)))
    }

    /// Returns the maximum age in seconds of the newest snapshot. One snapshot may be missed, but not two.
    pub fn patience(&self) -> Option<u64> {
        self.every.map(|every| 2 * every)
    }
}

/// A kind of period of which the newest snapshot is kept, and the function that numbers these periods.
type Span = (&'static str, fn(&OffsetDateTime) -> i64);

const SPANS: [Span; 4] = [
    ("hour", |t| t.unix_timestamp().div_euclid(3600)),
    ("day", |t| i64::from(t.to_julian_day())),
    // Weeks begin on Monday (ISO 8601), as does the Julian day 0.
    ("week", |t| i64::from(t.to_julian_day()).div_euclid(7)),
    ("month", |t| i64::from(t.year()) * 12 + i64::from(u8::from(t.month()))),
];

/// The time in seconds for which replaced data is kept. It may be the only copy.
const REPLACED_KEPT_FOR: u64 = 7 * 24 * 3600;

/// Decides about each snapshot. The oldest snapshot comes first. A snapshot that a user asked for is kept until a user
/// removes it, data that a restore replaced is kept for a week of the agent's running time, and the newest snapshot is
/// always kept.
pub fn decide(snapshots: &[Meta], keep: &Keep, now: &Moment) -> Vec<RetentionDecision> {
    let mut decisions: Vec<RetentionDecision> =
        snapshots.iter().map(|meta| RetentionDecision { id: meta.id.clone(), because: Vec::new() }).collect();
    for (decision, meta) in decisions.iter_mut().zip(snapshots) {
        if matches!(meta.reason, Reason::Asked | Reason::Fetched) {
            decision.because.push("taken by hand".into());
        }
        if meta.reason == Reason::Release {
            decision
                .because
                .push("a release needs it for its rollback, as long as `lap prune` keeps that release".into());
        }
        if meta.reason == Reason::Failed {
            decision.because.push("it has the data of a release that was taken back: `lap prune` decides".into());
        }
        if meta.reason == Reason::Replaced && now.age(meta.order.as_ref(), meta.at) < REPLACED_KEPT_FOR {
            decision.because.push("a restore replaced this data less than 7 days ago".into());
        }
    }
    if let Some(newest) = decisions.last_mut() {
        newest.because.push("the newest".into());
    }
    let ages: Vec<i64> = snapshots.iter().map(|meta| meta.at).collect();
    for (decision, why) in decisions.iter_mut().zip(spans(&ages, keep, now.at)) {
        decision.because.extend(why);
    }
    decisions
}

/// Returns for each of these times why the policy keeps it. The oldest state comes first. A state with a date in the
/// future is kept until the clock has passed it or a user removes it, because either the present clock or the earlier
/// one is wrong. If dates contradict the order, a state is kept if the rules keep it by its own date or by the date
/// that results from the order.
pub fn spans(times: &[i64], keep: &Keep, now: i64) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new(); times.len()];
    for because in all.iter_mut().rev().take(keep.last as usize) {
        because.push(format!("among the last {}", keep.last));
    }
    let by_order = dates(times, now);
    let own: Vec<Option<i64>> = times.iter().zip(&by_order).map(|(at, date)| date.and(Some(*at))).collect();
    by_date(&mut all, &by_order, keep);
    if own != by_order {
        by_date(&mut all, &own, keep);
    }
    for (because, _) in all.iter_mut().zip(&by_order).filter(|(_, at)| at.is_none()) {
        because.push("dated in the future".into());
    }
    all
}

/// Adds why the rules for hours, days, weeks and months keep each, by these dates.
fn by_date(all: &mut [Vec<String>], dates: &[Option<i64>], keep: &Keep) {
    let counts = [keep.hourly, keep.daily, keep.weekly, keep.monthly];
    for ((name, number), count) in SPANS.into_iter().zip(counts) {
        let mut seen = BTreeSet::new();
        for (because, at) in all.iter_mut().zip(dates).rev() {
            let Some(at) = at else { continue };
            if seen.len() == count as usize {
                break;
            }
            let at = OffsetDateTime::from_unix_timestamp(*at).unwrap_or(OffsetDateTime::UNIX_EPOCH);
            if seen.insert(number(&at)) {
                let why = format!("the newest of its {name} ({} of {count})", seen.len());
                // By its other date it was the same.
                if !because.contains(&why) {
                    because.push(why);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;
    /// Saturday, 21 November 2026, 12:00 UTC.
    const NOON: i64 = 1_795_262_400;

    fn meta(at: i64, reason: Reason) -> Meta {
        Meta {
            id: Id::new(at, 1),
            at,
            reason,
            note: None,
            by: "agent".into(),
            current: None,
            pause: None,
            order: None,
            nested: Default::default(),
        }
    }

    /// The agent has run for long.
    fn moment() -> Moment {
        Moment { at: NOON, line: None, ran: 100_000_000 }
    }

    fn kept(ages: &[i64], keep: Keep) -> Vec<i64> {
        let all: Vec<Meta> = ages.iter().rev().map(|age| meta(NOON - age * HOUR, Reason::Scheduled)).collect();
        let decisions = decide(&all, &keep, &moment());
        let stays = decisions.iter().zip(&all).filter(|(d, _)| !d.because.is_empty());
        let mut ages: Vec<i64> = stays.map(|(_, m)| (NOON - m.at) / HOUR).collect();
        ages.sort_unstable();
        ages
    }

    #[test]
    fn the_newest_snapshot_of_each_period_is_kept() {
        let every_hour: Vec<i64> = (0..24 * 70).collect();
        assert_eq!(kept(&every_hour, Keep { last: 3, ..Keep::default() }), [0, 1, 2]);
        assert_eq!(kept(&every_hour, Keep { hourly: 4, ..Keep::default() }), [0, 1, 2, 3]);
        // 12:00 today, and 23:00 on each of the days before.
        assert_eq!(kept(&every_hour, Keep { daily: 3, ..Keep::default() }), [0, 13, 37]);
        // Sunday 23:00 of the week before, because the day is a Saturday.
        assert_eq!(kept(&every_hour, Keep { weekly: 2, ..Keep::default() }), [0, 5 * 24 + 13]);
        assert_eq!(kept(&every_hour, Keep { monthly: 2, ..Keep::default() }), [0, 20 * 24 + 13]);
        let all = Keep { last: 2, hourly: 24, daily: 7, weekly: 5, monthly: 12 };
        // 24 hours; days 3 to 7; the weeks and months before these.
        assert_eq!(kept(&every_hour, all).len(), 24 + 5 + 4 + 1, "{:?}", kept(&every_hour, all));
        // If a lab was off for a long time, its few snapshots are kept.
        assert_eq!(kept(&[0, 300, 900], Keep { daily: 7, ..Keep::default() }), [0, 300, 900]);
        assert_eq!(kept(&[5, 6], Keep::default()), [5], "the newest is kept, whatever the policy is");
        assert!(decide(&[], &all, &moment()).is_empty());
    }

    #[test]
    fn a_requested_snapshot_is_kept_and_each_decision_has_a_reason() {
        let all = [
            meta(NOON - 900 * HOUR, Reason::Asked),
            meta(NOON - 800 * HOUR, Reason::Replaced),
            meta(NOON - HOUR, Reason::Scheduled),
            meta(NOON, Reason::Scheduled),
        ];
        let because =
            |keep| decide(&all, &keep, &moment()).into_iter().map(|d| d.because.join("; ")).collect::<Vec<_>>();
        assert_eq!(
            because(Keep { daily: 1, ..Keep::default() }),
            ["taken by hand", "", "", "the newest; the newest of its day (1 of 1)"]
        );
        assert_eq!(
            because(Keep { last: 2, ..Keep::default() })[2..],
            ["among the last 2", "the newest; among the last 2"]
        );
    }

    #[test]
    fn the_next_snapshot_is_due_one_period_after_the_newest() {
        let policy = SnapshotPolicy { every: Some(3600), keep: None };
        assert_eq!(policy.due(&[], NOON), Some(0), "at once, without a snapshot");
        assert_eq!(
            policy.due(
                &[meta(NOON - 7200, Reason::Asked), meta(NOON, Reason::Scheduled), meta(NOON + 99, Reason::Asked)],
                NOON
            ),
            Some(NOON + 3600)
        );
        assert_eq!(SnapshotPolicy::default().due(&[], NOON), None);
        assert_eq!(policy.patience(), Some(7200));
    }
}
