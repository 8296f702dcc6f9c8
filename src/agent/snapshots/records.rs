//! The records of restores that are under way, and the snapshots that they still need.

use std::{fs, path::Path};

use lap_base::{
    error::{Kind, OrError, Result},
    state,
};
use lap_snapshots as snapshot;

use crate::wire::paths;

/// What restores under way are written down in.
const RECORDS: [&str; 2] = ["restore.json", "restore-only.json"];

/// Whether a restore has not come to its end.
pub fn is_pending() -> bool {
    RECORDS.iter().any(|record| !state::is_absent(&Path::new(paths::STATE).join(record)))
}

/// Whether what was interrupted still needs this snapshot: its record names it.
pub fn is_needed(id: &snapshot::Id) -> Result<bool> {
    let name = format!("\"{id}\"");
    for record in RECORDS.into_iter().chain(["switch.json"]) {
        let path = Path::new(paths::STATE).join(record);
        match fs::read_to_string(&path) {
            Ok(text) if text.contains(&name) => return Ok(true),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).or_error(Kind::Node, || format!("cannot read `{}`", path.display()));
            }
            _ => {}
        }
    }
    Ok(false)
}
