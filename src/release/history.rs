//! What ran before what, from the ledger: where a roll-back goes, and with which data.

use lap_snapshots::Id;

use super::{
    ledger::{LedgerEntry, SwitchOutcome},
    order::Verb,
};

/// Each switch that was made, with the release that ran before it. `known`: the numbers of all releases, for the first switch,
/// before which nothing was written down.
fn switches<'a>(ledger: &'a [LedgerEntry], known: &[u64]) -> Vec<(Option<u64>, &'a LedgerEntry)> {
    let done: Vec<&LedgerEntry> = ledger.iter().filter(|entry| entry.result == SwitchOutcome::Done).collect();
    let first = done.first().and_then(|first| known.iter().copied().filter(|known| *known < first.release).max());
    let ran = std::iter::once(first).chain(done.iter().map(|entry| Some(entry.release)));
    ran.zip(done.iter().copied()).collect()
}

/// The release that ran before `now` was promoted.
pub fn before(ledger: &[LedgerEntry], known: &[u64], now: u64) -> Option<u64> {
    let promoted = |(_, entry): &&(Option<u64>, &LedgerEntry)| entry.release == now && entry.verb == Verb::Promote;
    switches(ledger, known).iter().rfind(promoted).and_then(|(before, _)| *before)
}

/// The data as `release` left it when it ran last: what the switch away from it kept.
pub fn data_of(ledger: &[LedgerEntry], known: &[u64], release: u64) -> Option<Id> {
    let away = switches(ledger, known);
    away.iter().rfind(|(before, _)| *before == Some(release)).and_then(|(_, entry)| entry.before.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(verb: Verb, release: u64, before: &str, result: SwitchOutcome) -> LedgerEntry {
        LedgerEntry {
            number: 0,
            fence: 0,
            began: 0,
            ended: 0,
            by: "anna@notebook".into(),
            verb,
            from: None,
            release,
            commit: String::new(),
            images: std::collections::BTreeMap::new(),
            before: Some(before.parse().unwrap()),
            checks: 0,
            away: None,
            outage: Vec::new(),
            result,
            previous: String::new(),
        }
    }

    #[test]
    fn what_ran_before_and_its_newest_data() {
        let back = || SwitchOutcome::TakenBack { why: "x".into(), failed: None };
        let id = |n: u32| format!("20261121-12000{n}");
        let ledger = [
            entry(Verb::Promote, 2, &id(1), SwitchOutcome::Done),
            entry(Verb::Promote, 3, &id(2), back()),
            entry(Verb::Promote, 4, &id(3), SwitchOutcome::Done),
            entry(Verb::Rollback, 2, &id(4), SwitchOutcome::Done),
            entry(Verb::Promote, 5, &id(5), SwitchOutcome::Done),
        ];
        let known = [1, 2, 4, 5];
        assert_eq!(before(&ledger, &known, 5), Some(2), "4 was rolled back: nobody wants it again without saying so");
        assert_eq!(before(&ledger, &known, 2), Some(1), "not where the roll-back came from");
        assert_eq!(before(&ledger, &known, 4), Some(2));
        assert_eq!(before(&ledger, &known, 1), None);
        assert_eq!(before(&[], &known, 2), None);
        let data = |release| data_of(&ledger, &known, release).map(|id| id.to_string());
        assert_eq!(data(1), Some(id(1)));
        assert_eq!(data(2), Some(id(5)), "with what was written after the roll-back");
        assert_eq!(data(4), Some(id(4)));
        assert_eq!(data(5), None, "it runs");
    }
}
