//! `[copies]` of `lap.toml`: how often snapshots are copied off the machine and verified there, and which copies are
//! kept. This module is pure.

use std::collections::BTreeMap;

use lap_snapshots::{
    Id,
    keep::{Keep, RetentionDecision, spans},
    order::is_ahead,
};
use serde::{Deserialize, Serialize};

use super::{snapshots::Copy, verify::Depth};

/// The settings in lap.toml.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CopyPolicy {
    /// The time between two copies in seconds. `None` means that copies are made by hand only.
    pub every: Option<u64>,
    /// The time between two verifications in seconds.
    pub verify: Option<u64>,
    /// The part of the data that a verification reads.
    pub depth: Depth,
    /// The copies to keep. `None` means all.
    pub keep: Option<Keep>,
}

impl Default for CopyPolicy {
    fn default() -> Self {
        Self { every: None, verify: None, depth: Depth::Structure, keep: None }
    }
}

/// The state of an environment's copies in one repository, as the node knows it. The last command that worked there
/// reported it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CopyStatus {
    /// The newest copy and the time of its snapshot (Unix seconds).
    pub newest: Option<(Id, i64)>,
    pub verified: Option<Verified>,
    pub drilled: Option<Drilled>,
    /// Whether the last copy went to the repository that all environments share.
    pub shared: bool,
}

/// The result of a verification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The time of the verification (Unix seconds).
    pub at: i64,
    /// The environment's newest copy at that time.
    pub newest: Option<Id>,
    /// The number of faults.
    pub faults: usize,
}

/// The result of a drill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drilled {
    /// The start of the drill (Unix seconds).
    pub at: i64,
    pub id: Id,
    /// The duration until everything was healthy and checked, or until the drill failed.
    pub seconds: f64,
    /// The age of the copy in seconds. Data of this time would have been lost.
    pub lost: i64,
    /// The error, or `None` if the drill succeeded.
    pub failed: Option<String>,
}

/// An update of [`CopyStatus`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum News {
    Newest(Option<(Id, i64)>),
    Verified(Verified),
    Drilled(Drilled),
    Shared(bool),
}

impl CopyStatus {
    /// Applies an update.
    pub fn hear(&mut self, news: News) {
        match news {
            News::Newest(newest) => self.newest = newest,
            News::Verified(verified) => self.verified = Some(verified),
            News::Drilled(drilled) => self.drilled = Some(drilled),
            News::Shared(shared) => self.shared = shared,
        }
    }
}

impl CopyPolicy {
    /// Whether the newest snapshot is to be copied at `now`. `is_newer`: than each copy; `there`: the date of the newest copy, if there is
    /// one. A date in the future is no reason to wait for it.
    pub fn copy_is_due(&self, is_newer: bool, there: Option<i64>, now: i64) -> bool {
        let Some(every) = self.every.filter(|_| is_newer) else { return false };
        there.is_none_or(|there| is_ahead(there, now) || now.saturating_sub(there) >= every.cast_signed())
    }

    /// Returns whether a verification is due. A damaged repository is verified each time, because it may have been
    /// repaired.
    pub fn verification_is_due(&self, known: &CopyStatus, now: i64) -> bool {
        self.verify.is_some_and(|every| {
            known.verified.as_ref().is_none_or(|last| {
                last.faults > 0 || is_ahead(last.at, now) || now.saturating_sub(last.at) >= every.cast_signed()
            })
        })
    }

    /// Returns the problems, one sentence each. There can be no copy from before `since`. One copy or verification may
    /// be missed, but not two.
    pub fn complaints<'a>(
        &self,
        repositories: impl Iterator<Item = &'a String>,
        known: &BTreeMap<String, CopyStatus>,
        since: i64,
        now: i64,
    ) -> Vec<String> {
        let since = if is_ahead(since, now) { 0 } else { since };
        let late = |every: Option<u64>, at: Option<i64>| {
            every.is_some_and(|every| {
                now.saturating_sub(at.unwrap_or(0).max(since)) > every.saturating_mul(2).cast_signed()
            })
        };
        let mut all = Vec::new();
        for name in repositories {
            let nothing = CopyStatus::default();
            let known = known.get(name).unwrap_or(&nothing);
            let (newest, verified) = (known.newest.as_ref().map(|(_, at)| *at), known.verified.as_ref());
            if newest.is_some_and(|at| is_ahead(at, now)) {
                all.push(format!("the newest copy in `{name}` is dated in the future"));
            } else if late(self.every, newest) {
                all.push(match newest {
                    Some(_) => format!("the newest copy in `{name}` is older than lap.toml allows"),
                    None => format!("`{name}` has no copy yet"),
                });
            }
            if let Some(damaged) = verified.filter(|verified| verified.faults > 0) {
                all.push(format!("`{name}` is damaged ({})", lap_base::words::plural(damaged.faults, "fault")));
            } else if verified.is_some_and(|verified| is_ahead(verified.at, now)) {
                all.push(format!("the last verification of `{name}` is dated in the future"));
            } else if late(self.verify, verified.map(|verified| verified.at)) {
                all.push(match verified {
                    Some(_) => format!("`{name}` was verified longer ago than lap.toml allows"),
                    None => format!("`{name}` was never verified"),
                });
            }
        }
        all
    }
}

/// Decides which copies to keep. The oldest copy comes first. A copy is kept if the policy says so, if it is the newest
/// one, if it is the newest one at the last verification without faults, if a user asked for it by name, or if a
/// release on the node needs it for its rollback (`releases`).
pub fn decide(copies: &[Copy], keep: &Keep, known: &CopyStatus, releases: &[Id], now: i64) -> Vec<RetentionDecision> {
    let ages: Vec<i64> = copies.iter().map(|copy| copy.at).collect();
    let verified = known.verified.as_ref().filter(|verified| verified.faults == 0);
    let verified = verified.and_then(|verified| verified.newest.as_ref());
    let newest = copies.len().saturating_sub(1);
    let one = |(nth, (copy, spans)): (usize, (&Copy, Vec<String>))| {
        let reasons = [
            (copy.asked, "taken by hand"),
            (releases.contains(&copy.id), "a release needs it for its rollback"),
            (verified == Some(&copy.id), "the newest verified one"),
            (nth == newest, "the newest"),
        ];
        let because = reasons.into_iter().filter(|(is, _)| *is).map(|(_, why)| why.to_owned());
        RetentionDecision { id: copy.id.clone(), because: because.chain(spans).collect() }
    };
    copies.iter().zip(spans(&ages, keep, now)).enumerate().map(one).collect()
}

/// Returns the newest of `copies`. The oldest copy comes first.
pub fn newest_of(copies: &[Copy]) -> News {
    News::Newest(copies.last().map(|copy| (copy.id.clone(), copy.at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;
    /// Saturday, 21 November 2026, 12:00 UTC.
    const NOON: i64 = 1_795_262_400;

    fn policy() -> CopyPolicy {
        CopyPolicy { every: Some(DAY as u64), verify: Some(7 * DAY as u64), ..CopyPolicy::default() }
    }

    fn verified(days: i64, faults: usize) -> CopyStatus {
        CopyStatus { verified: Some(Verified { at: NOON - days * DAY, newest: None, faults }), ..CopyStatus::default() }
    }

    #[test]
    fn copies_and_verifications_are_due() {
        let copy =
            |is_newer: bool, there: Option<i64>| policy().copy_is_due(is_newer, there.map(|age| NOON - age), NOON);
        assert!(!copy(false, None), "nothing to copy");
        assert!(copy(true, None), "the first");
        assert!(!copy(true, Some(DAY - 1)));
        assert!(copy(true, Some(DAY)));
        assert!(!copy(false, Some(DAY)), "it, or a newer one, is there");
        assert!(copy(true, Some(-9 * DAY)), "the newest copy is dated in the future");
        assert!(!CopyPolicy::default().copy_is_due(true, None, NOON), "by hand only");
        for (known, due) in [
            (CopyStatus::default(), true),
            (verified(6, 0), false),
            (verified(7, 0), true),
            (verified(1, 2), true),
            (verified(-9, 0), true),
        ] {
            assert_eq!(policy().verification_is_due(&known, NOON), due, "{known:?}");
        }
    }

    #[test]
    fn late_or_damaged_repositories_are_reported() {
        let told = |known: Option<CopyStatus>, since: i64| {
            let known = known.map(|known| ("nas".to_owned(), known)).into_iter().collect();
            policy().complaints(["nas".to_owned()].iter(), &known, NOON - since * DAY, NOON)
        };
        let copied =
            |days: i64, known: CopyStatus| CopyStatus { newest: Some((Id::new(0, 1), NOON - days * DAY)), ..known };
        assert_eq!(told(None, 2), [""; 0]);
        assert_eq!(told(None, 3), ["`nas` has no copy yet"]);
        assert_eq!(told(None, 15), ["`nas` has no copy yet", "`nas` was never verified"]);
        assert_eq!(told(Some(copied(2, verified(14, 0))), 99), [""; 0]);
        assert_eq!(
            told(Some(copied(3, verified(1, 0))), 99),
            ["the newest copy in `nas` is older than lap.toml allows"]
        );
        assert_eq!(told(Some(copied(1, verified(15, 0))), 99), ["`nas` was verified longer ago than lap.toml allows"]);
        assert_eq!(
            told(Some(copied(-9, verified(-9, 0))), 99),
            [
                "the newest copy in `nas` is dated in the future",
                "the last verification of `nas` is dated in the future"
            ]
        );
        assert_eq!(told(None, -9), ["`nas` has no copy yet", "`nas` was never verified"], "the policy's own date");
        assert_eq!(told(Some(copied(1, verified(15, 1))), 99), ["`nas` is damaged (1 fault)"]);
    }

    #[test]
    fn each_reason_keeps_a_copy() {
        let copy = |days: i64, asked: bool| Copy {
            id: Id::new(NOON - days * DAY, 1),
            lab: "l".into(),
            environment: "test".into(),
            at: NOON - days * DAY,
            order: None,
            restic: String::new(),
            size: None,
            asked,
            shared: false,
        };
        let copies = [copy(9, false), copy(8, true), copy(7, false), copy(6, false), copy(5, false), copy(4, false)];
        let mut known = verified(5, 0);
        if let Some(verified) = &mut known.verified {
            verified.newest = Some(copies[3].id.clone());
        }
        let keep = Keep { daily: 2, ..Keep::default() };
        let why = |known: &CopyStatus| -> Vec<String> {
            decide(&copies, &keep, known, &[copies[2].id.clone()], NOON)
                .into_iter()
                .map(|d| d.because.join("; "))
                .collect()
        };
        let mut expected = [
            "",
            "taken by hand",
            "a release needs it for its rollback",
            "the newest verified one",
            "the newest of its day (2 of 2)",
            "the newest; the newest of its day (1 of 2)",
        ];
        assert_eq!(why(&known), expected);
        // A damaged verification keeps no copy.
        if let Some(verified) = &mut known.verified {
            verified.faults = 1;
        }
        expected[3] = "";
        assert_eq!(why(&known), expected);
        assert!(decide(&[], &keep, &known, &[], NOON).is_empty());
    }
}
