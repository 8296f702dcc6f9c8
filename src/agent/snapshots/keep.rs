//! Snapshots that a switch makes, under names that it chose before.

use lap_base::{clock::now, error::Result};
use lap_snapshots as snapshot;
use lap_snapshots::Reason;

use crate::agent::{data::freeze, pool::path, recorded};

/// Keeps the data as it is now under a name that was chosen before; if there is one of that name already, this was done before.
///
/// # Errors
/// The disk is full.
pub fn keep_as(by: &str, id: &snapshot::Id, reason: Reason, note: String) -> Result<()> {
    let pool = path()?;
    let order = Some(snapshot::order::again(pool, id)?);
    let meta = snapshot::Meta {
        id: id.clone(),
        at: now(),
        reason,
        note: Some(note),
        by: by.to_owned(),
        current: recorded::described(),
        pause: None,
        order,
        nested: snapshot::Nested::default(),
    };
    if snapshot::complete(pool, &meta)? {
        return Ok(());
    }
    snapshot::abandon(pool, id)?;
    let taken = snapshot::take(pool, &meta, &mut freeze::Containers::default())?;
    taken.nested.complaints().iter().for_each(|why| eprintln!("agent: {why}"));
    Ok(())
}

/// Two names for snapshots that nobody has yet.
///
/// # Errors
/// There is no pool.
pub fn two_names() -> Result<(snapshot::Id, snapshot::Id)> {
    let pool = path()?;
    let first = snapshot::free_id(pool, now());
    let mut nth = 2;
    loop {
        let second = snapshot::Id::new(now(), nth);
        if second != first && !snapshot::is_whole(pool, &second) {
            return Ok((first, second));
        }
        nth += 1;
    }
}
