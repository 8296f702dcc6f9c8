//! The snapshots to which the records of restores refer, and the remains of restores without a record.

use std::{collections::BTreeSet, path::Path};

use lap_base::error::Result;

use super::{id::Id, only, restore};

/// Returns the snapshots that a restore in progress needs or is about to make.
///
/// # Errors
/// A record cannot be read.
pub fn named(state: &Path) -> Result<BTreeSet<Id>> {
    Ok(restore::named(state)?.into_iter().chain(only::named(state)?).collect())
}

/// Puts away what restores left beside the data without a record: a whole restore's becomes a snapshot. A power cut during an earlier version's restore could
/// leave it, and it blocks every later restore. The agent calls this at its start, when no restore is in progress.
///
/// # Errors
/// A record cannot be read, or something cannot be removed.
pub fn sweep_beside(pool: &Path, state: &Path) -> Result<()> {
    restore::sweep(pool, state).and(only::sweep(pool, state))
}
