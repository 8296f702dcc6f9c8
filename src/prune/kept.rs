//! Which releases stay, and which snapshots that promotions left.

use std::collections::BTreeSet;

use lap_snapshots::{Id, Reason, order::Moment};

use super::found::Inventory;
use crate::{
    release::{self, manifest::ReleaseManifest},
    wire::prune::{ItemKind, PruneDecision, PruneRules, Todo},
};

/// The number of the release that runs.
fn runs(found: &Inventory) -> Option<u64> {
    serde_json::from_value::<ReleaseManifest>(found.current.clone()?).ok()?.release
}

/// Every release by its number.
pub fn releases(found: &Inventory, rules: &PruneRules) -> Vec<(u64, PruneDecision)> {
    let runs = runs(found);
    let known: Vec<u64> = found.releases.keys().copied().collect();
    let before = runs.and_then(|runs| {
        let older = known.iter().rfind(|number| **number < runs).copied();
        release::before(&found.ledger, &known, runs).or(older)
    });
    let newest: Vec<u64> =
        found.releases.keys().rev().take(usize::try_from(rules.keep).unwrap_or(usize::MAX)).copied().collect();
    let decide = |number: u64| {
        let why = match number {
            number if runs == Some(number) => Some("it runs".to_owned()),
            number if before == Some(number) => Some("the one before the running one".to_owned()),
            // Which one it could be is not known: nothing goes.
            _ if runs.is_none() => Some("the running release is not known".to_owned()),
            number if newest.contains(&number) => Some(format!("among the newest {}", rules.keep)),
            _ => None,
        };
        match why {
            Some(why) => PruneDecision::stays(ItemKind::Release, number.to_string(), why),
            None => {
                let why = format!("not among the newest {}", rules.keep);
                PruneDecision::removed(ItemKind::Release, number.to_string(), why, Todo::Release(number))
            }
        }
    };
    found.releases.keys().map(|number| (*number, decide(*number))).collect()
}

/// Every snapshot that a promotion or a roll-back left; `stay` are the releases that do. The others are `lap snapshot prune`'s.
pub fn snapshots(found: &Inventory, stay: &[u64], rules: &PruneRules, now: &Moment) -> Vec<(Id, PruneDecision)> {
    let days = rules.keep_failed / 86_400;
    let known: Vec<u64> = found.releases.keys().copied().collect();
    let data = |number: &u64| Some((*number, release::data_of(&found.ledger, &known, *number)?));
    let back: Vec<(u64, Id)> = stay.iter().filter_map(data).collect();
    let decide = |meta: &lap_snapshots::Meta| {
        let goes_back = back.iter().find(|(_, id)| *id == meta.id);
        let old = now.age(meta.order.as_ref(), meta.at) >= rules.keep_failed;
        let what = match meta.reason {
            Reason::Failed => "the data of a failed release",
            _ => "the data before a switch",
        };
        let name = meta.id.to_string();
        match (goes_back, old) {
            (Some((number, _)), _) => {
                PruneDecision::stays(ItemKind::Snapshot, name, format!("the data for a rollback to release {number}"))
            }
            (None, false) => {
                let of_clock = u64::try_from(now.at.saturating_sub(meta.at)).unwrap_or(0);
                let why = match of_clock >= rules.keep_failed {
                    true => format!("{what}; the node has run for less than {days} d since"),
                    false => format!("{what}, less than {days} d ago"),
                };
                PruneDecision::stays(ItemKind::Snapshot, name, why)
            }
            (None, true) => {
                let why = format!("{what}, more than {days} d ago");
                PruneDecision::removed(ItemKind::Snapshot, name, why, Todo::Snapshot(meta.id.clone()))
            }
        }
    };
    let mut all: Vec<(Id, PruneDecision)> =
        found.snapshots.iter().filter(|meta| of_promotion(meta)).map(|meta| (meta.id.clone(), decide(meta))).collect();
    let others = found.snapshots.iter().filter(|meta| !of_promotion(meta));
    all.extend(others.map(|meta| {
        let why = "not of a promotion: `lap snapshot prune` decides";
        (meta.id.clone(), PruneDecision::stays(ItemKind::Snapshot, meta.id.to_string(), why))
    }));
    all
}

/// Those of promotions one by one, the others in one line.
pub fn summary(found: &Inventory, snapshots: Vec<(Id, PruneDecision)>) -> Vec<PruneDecision> {
    let left: BTreeSet<&Id> = found.snapshots.iter().filter(|meta| of_promotion(meta)).map(|meta| &meta.id).collect();
    let (ours, others): (Vec<_>, Vec<_>) = snapshots.into_iter().partition(|(id, _)| left.contains(id));
    let mut ours: Vec<PruneDecision> = ours.into_iter().map(|(_, decision)| decision).collect();
    if let Some((_, first)) = others.first() {
        let name = if others.len() == 1 { first.name.clone() } else { format!("{} others", others.len()) };
        ours.push(PruneDecision { name, ..first.clone() });
    }
    ours
}

/// A promotion or a roll-back left this snapshot.
fn of_promotion(meta: &lap_snapshots::Meta) -> bool {
    matches!(meta.reason, Reason::Failed | Reason::Release)
}
