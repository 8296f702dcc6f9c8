//! What is to be frozen and what goes on. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::wire::protocol::OverFact;

/// A container that was started again with too much data may write so much: a start writes something.
const SLACK: u64 = 8 << 20;

/// The pool, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolLevel {
    /// It is almost full.
    Low,
    /// It is neither.
    Between,
    /// There is room again.
    Ample,
}

/// A container that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunningContainer {
    /// Docker's id.
    pub id: String,
    /// lap froze it.
    pub held: bool,
    /// A person paused it.
    pub paused: bool,
}

/// How much data a container has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataSize {
    pub bytes: u64,
    /// It has no more than `bytes`.
    pub whole: bool,
    /// It cannot be measured: then it counts as more than any size.
    pub hidden: bool,
    /// Data was moved or removed during the walk, which may have missed some.
    pub changed: bool,
}

/// All that is known at one moment, by container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaInput<'a> {
    pub pool: PoolLevel,
    pub now: i64,
    pub runs: &'a BTreeMap<String, RunningContainer>,
    /// `None`: what the environment runs is not known.
    pub sizes: Option<&'a BTreeMap<String, u64>>,
    pub measured: &'a BTreeMap<String, DataSize>,
    /// The containers whose hooks around a snapshot run: a hook of a frozen container would fail.
    pub hooked: &'a BTreeSet<String>,
}

/// What is to be done to one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaAction {
    Freeze { container: String, id: String },
    Thaw { container: String, id: String },
}

/// Decides, and brings `over` up to date. A container that is to go on stays in `over` until it does, so that a failed try is repeated.
pub fn decide(over: &mut BTreeMap<String, OverFact>, seen: &QuotaInput<'_>) -> Vec<QuotaAction> {
    adopt(over, seen);
    let mut acts = Vec::new();
    over.retain(|container, fact| {
        let runs = seen.runs.get(container);
        if runs.is_none_or(|runs| runs.id != fact.id || !runs.held) {
            fact.frozen = false;
        }
        if let Some(measured) = seen.measured.get(container).filter(|_| fact.frozen) {
            fact.bytes = fact.bytes.max(measured.bytes);
            fact.unmeasured &= measured.bytes <= fact.size;
        }
        if !is_settled(container, fact, seen) {
            return true;
        }
        if fact.frozen {
            acts.push(QuotaAction::Thaw { container: container.clone(), id: fact.id.clone() });
        }
        fact.frozen
    });
    if seen.pool == PoolLevel::Low {
        acts.extend(seen.runs.iter().filter_map(|(container, runs)| freeze(over, seen, container, runs)));
    }
    acts
}

/// One that lap froze and that is not listed: the list was lost.
fn adopt(over: &mut BTreeMap<String, OverFact>, seen: &QuotaInput<'_>) {
    for (container, runs) in seen.runs.iter().filter(|(_, runs)| runs.held) {
        if !over.get(container).is_some_and(|fact| fact.id == runs.id && fact.frozen) {
            let measured = seen.measured.get(container).copied().unwrap_or_default();
            let size = seen.sizes.and_then(|sizes| sizes.get(container)).copied().unwrap_or(0);
            let fact = OverFact {
                id: runs.id.clone(),
                bytes: measured.bytes,
                size,
                since: seen.now,
                frozen: true,
                unmeasured: measured.hidden && measured.bytes <= size,
            };
            over.insert(container.clone(), fact);
        }
    }
}

/// Whether nothing is wrong with it any more. A size that is not known settles nothing.
fn is_settled(container: &str, fact: &mut OverFact, seen: &QuotaInput<'_>) -> bool {
    if seen.pool == PoolLevel::Ample {
        return true;
    }
    let Some(sizes) = seen.sizes else { return false };
    let Some(size) = sizes.get(container) else { return true };
    fact.size = *size;
    seen.measured.get(container).is_some_and(|measured| measured.whole && measured.bytes <= *size)
}

fn freeze(
    over: &mut BTreeMap<String, OverFact>,
    seen: &QuotaInput<'_>,
    container: &str,
    runs: &RunningContainer,
) -> Option<QuotaAction> {
    let size = *seen.sizes?.get(container)?;
    let measured = seen.measured.get(container)?;
    let known = over.get(container);
    // A person started it again: it may run as long as it does not grow.
    let may = known.map_or(size, |fact| size.max(fact.bytes.saturating_add(SLACK)));
    let is_over = measured.bytes > may || (measured.hidden && known.is_none());
    if runs.held || runs.paused || !is_over || seen.hooked.contains(container) {
        return None;
    }
    let fact = OverFact {
        id: runs.id.clone(),
        bytes: measured.bytes,
        size,
        since: seen.now,
        frozen: true,
        unmeasured: measured.bytes <= may,
    };
    over.insert(container.to_owned(), fact);
    Some(QuotaAction::Freeze { container: container.to_owned(), id: runs.id.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A node with the containers `web` (its size is 100 MiB) and `db` (it declares none).
    struct Node {
        over: BTreeMap<String, OverFact>,
        runs: BTreeMap<String, RunningContainer>,
        sizes: Option<BTreeMap<String, u64>>,
        hooked: BTreeSet<String>,
    }

    impl Node {
        fn new() -> Self {
            let runs = |name: &str| {
                (name.to_owned(), RunningContainer { id: format!("{name}-1"), ..RunningContainer::default() })
            };
            let sizes = Some([("web".to_owned(), 100 * MIB)].into());
            Self { over: BTreeMap::new(), runs: ["db", "web"].map(runs).into(), sizes, hooked: BTreeSet::new() }
        }

        /// What is done when both have so many MiB; it is done.
        fn both_have(&mut self, pool: PoolLevel, web: u64, db: u64) -> Vec<QuotaAction> {
            let whole = |mib| DataSize { bytes: mib * MIB, whole: true, ..DataSize::default() };
            self.has(pool, [("web".to_owned(), whole(web)), ("db".to_owned(), whole(db))].into())
        }

        fn has(&mut self, pool: PoolLevel, measured: BTreeMap<String, DataSize>) -> Vec<QuotaAction> {
            let acts = self.wants(pool, &measured);
            for act in &acts {
                let (QuotaAction::Freeze { container, .. } | QuotaAction::Thaw { container, .. }) = act;
                let is_frozen = matches!(act, QuotaAction::Freeze { .. });
                self.runs.get_mut(container).unwrap().held = is_frozen;
                if !is_frozen {
                    self.over.remove(container);
                }
            }
            acts
        }

        /// The same, and nothing is done.
        fn wants(&mut self, pool: PoolLevel, measured: &BTreeMap<String, DataSize>) -> Vec<QuotaAction> {
            let (sizes, runs, hooked) = (self.sizes.as_ref(), &self.runs, &self.hooked);
            decide(&mut self.over, &QuotaInput { pool, now: 5, runs, sizes, measured, hooked })
        }

        fn restart(&mut self, id: &str) {
            *self.runs.get_mut("web").unwrap() = RunningContainer { id: id.to_owned(), ..RunningContainer::default() };
        }
    }

    fn freeze() -> Vec<QuotaAction> {
        vec![QuotaAction::Freeze { container: "web".into(), id: "web-1".into() }]
    }

    fn thaw() -> Vec<QuotaAction> {
        vec![QuotaAction::Thaw { container: "web".into(), id: "web-1".into() }]
    }

    #[test]
    fn only_a_container_above_its_size_is_frozen_and_only_while_the_pool_is_low() {
        let mut node = Node::new();
        assert_eq!(node.both_have(PoolLevel::Ample, 900, 900), []);
        assert_eq!(node.both_have(PoolLevel::Between, 900, 900), []);
        assert_eq!(node.both_have(PoolLevel::Low, 100, 900), [], "the one without a size is innocent");
        assert_eq!(node.both_have(PoolLevel::Low, 101, 900), freeze());
        assert_eq!(node.both_have(PoolLevel::Low, 101, 900), [], "once");
        assert!(node.over["web"].frozen && node.over["web"].since == 5);
    }

    #[test]
    fn it_goes_on_when_there_is_room_or_it_is_within_its_size() {
        for (pool, web) in [(PoolLevel::Ample, 900), (PoolLevel::Low, 100), (PoolLevel::Between, 50)] {
            let mut node = Node::new();
            assert_eq!(node.both_have(PoolLevel::Low, 900, 0), freeze());
            assert_eq!(node.both_have(PoolLevel::Between, 900, 0), [], "a little room is no reason");
            assert_eq!(node.both_have(pool, web, 0), thaw());
            assert!(node.over.is_empty());
        }
        // A larger size, or none any more.
        for size in [Some(901 * MIB), None] {
            let mut node = Node::new();
            assert_eq!(node.both_have(PoolLevel::Low, 900, 0), freeze());
            node.sizes = Some(size.map(|size| ("web".to_owned(), size)).into_iter().collect());
            assert_eq!(node.both_have(PoolLevel::Low, 900, 0), thaw());
        }
    }

    #[test]
    fn one_that_a_person_started_again_runs_as_long_as_it_does_not_grow() {
        let mut node = Node::new();
        node.both_have(PoolLevel::Low, 900, 0);
        for id in ["web-1", "web-2"] {
            node.restart(id);
            assert_eq!(node.both_have(PoolLevel::Low, 901, 0), [], "{id}");
            assert!(!node.over["web"].frozen);
        }
        let again = vec![QuotaAction::Freeze { container: "web".into(), id: "web-2".into() }];
        assert_eq!(node.both_have(PoolLevel::Low, 909, 0), again);
        assert!(node.over["web"].frozen);
        // As long as it does not run, nothing is frozen and nothing is forgotten.
        node.runs.remove("web");
        assert_eq!(node.both_have(PoolLevel::Low, 909, 0), []);
        assert!(!node.over["web"].frozen);
        assert_eq!(node.both_have(PoolLevel::Ample, 909, 0), []);
        assert!(node.over.is_empty());
    }

    #[test]
    fn one_that_a_person_paused_is_left_alone() {
        let mut node = Node::new();
        node.runs.get_mut("web").unwrap().paused = true;
        assert_eq!(node.both_have(PoolLevel::Low, 900, 0), []);
        assert!(node.over.is_empty(), "and lap does not let it go on later");
    }

    #[test]
    fn what_is_not_known_freezes_and_thaws_nothing() {
        let mut node = Node::new();
        let sizes = node.sizes.take();
        assert_eq!(node.both_have(PoolLevel::Low, 900, 900), []);
        node.sizes = sizes;
        assert_eq!(node.has(PoolLevel::Low, BTreeMap::new()), []);
        let partly = |bytes| [("web".to_owned(), DataSize { bytes, ..DataSize::default() })].into();
        assert_eq!(node.has(PoolLevel::Low, partly(50 * MIB)), []);
        assert_eq!(node.has(PoolLevel::Low, partly(101 * MIB)), freeze(), "it has at least so much");
        assert_eq!(node.has(PoolLevel::Low, partly(50 * MIB)), []);
        node.sizes = None;
        assert_eq!(node.both_have(PoolLevel::Low, 50, 0), []);
    }

    #[test]
    fn data_that_cannot_be_measured_counts_as_too_much() {
        let mut node = Node::new();
        let hidden = |name: &str| (name.to_owned(), DataSize { hidden: true, ..DataSize::default() });
        assert_eq!(node.has(PoolLevel::Low, [hidden("db"), hidden("web")].into()), freeze());
        assert!(node.over["web"].unmeasured);
        assert_eq!(node.both_have(PoolLevel::Low, 101, 0), []);
        assert!(!node.over["web"].unmeasured, "it has more than its size");
    }

    #[test]
    fn a_thaw_that_failed_is_tried_again() {
        let mut node = Node::new();
        assert_eq!(node.both_have(PoolLevel::Low, 900, 0), freeze());
        let none = BTreeMap::new();
        assert_eq!(node.wants(PoolLevel::Ample, &none), thaw());
        assert_eq!(node.wants(PoolLevel::Between, &none), [], "there is less room again");
        assert_eq!(node.wants(PoolLevel::Ample, &none), thaw());
        node.runs.get_mut("web").unwrap().held = false;
        assert_eq!(node.wants(PoolLevel::Ample, &none), []);
        assert!(node.over.is_empty());
    }

    #[test]
    fn a_container_whose_hooks_run_is_frozen_afterwards() {
        let mut node = Node::new();
        node.hooked.insert("web".into());
        assert_eq!(node.both_have(PoolLevel::Low, 900, 0), []);
        assert!(node.over.is_empty());
        node.hooked.clear();
        assert_eq!(node.both_have(PoolLevel::Low, 900, 0), freeze());
    }

    #[test]
    fn a_lost_list_is_found_again() {
        let mut node = Node::new();
        node.both_have(PoolLevel::Low, 900, 0);
        node.over.clear();
        assert_eq!(node.both_have(PoolLevel::Low, 900, 0), []);
        assert!(node.over["web"].frozen && node.over["web"].bytes == 900 * MIB);
        node.over.clear();
        assert_eq!(node.both_have(PoolLevel::Ample, 900, 0), thaw());
    }
}
