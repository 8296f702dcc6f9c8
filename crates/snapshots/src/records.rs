//! Which snapshots the records of restores name.

use std::{collections::BTreeSet, path::Path};

use lap_base::error::Result;

use super::{id::Id, only, restore};

/// Those that a restore under way needs, or is about to make.
///
/// # Errors
/// A record cannot be read.
pub fn named(state: &Path) -> Result<BTreeSet<Id>> {
    Ok(restore::named(state)?.into_iter().chain(only::named(state)?).collect())
}
