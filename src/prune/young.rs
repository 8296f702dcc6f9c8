//! What came so lately that it stays.

use crate::wire::prune::PruneRules;

/// Whether something came so lately that somebody may be about to use it.
pub(crate) fn is_young(since: i64, rules: &PruneRules, now: i64) -> bool {
    now.saturating_sub(since) < i64::try_from(rules.grace).unwrap_or(i64::MAX)
}

pub(crate) const YOUNG: &str = "it is new: a running command may need it";
