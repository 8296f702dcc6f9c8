//! The data at the start of the agent, before Docker.

use std::{collections::BTreeSet, path::Path};

use lap_base::error::Result;
use lap_snapshots as snapshot;

use crate::{
    agent::{clone_data, snapshots, switch},
    wire::paths,
};

/// At boot, before Docker: brings the data into one whole state.
///
/// # Errors
/// It cannot be brought there; the node must not start anything on it.
pub fn recover_data() -> Result<()> {
    let note: Box<dyn Fn(&str) + Send> = Box::new(|step| eprintln!("agent: restore: {step}"));
    for said in snapshots::recover(None, note)? {
        eprintln!("agent: {said}");
    }
    // What cannot be removed costs room, and is no reason to stay down.
    let (pool, state) = (Path::new(paths::POOL), Path::new(paths::STATE));
    let halves = named().and_then(|named| snapshot::sweep(pool, &named));
    for swept in [halves, snapshot::sweep_beside(pool, state), clone_data::sweep()] {
        if let Err(error) = swept {
            eprintln!("agent: {error}");
        }
    }
    Ok(())
}

/// The snapshots that records of work under way name.
fn named() -> Result<BTreeSet<snapshot::Id>> {
    let mut all = snapshot::named(Path::new(paths::STATE))?;
    all.extend(switch::named()?);
    Ok(all)
}
