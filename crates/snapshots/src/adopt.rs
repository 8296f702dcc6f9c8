//! What a node that is made anew takes over from the one before it.

use std::path::Path;

use lap_base::{
    beneath::{DirEntry, Walk, dir::Dir},
    error::Result,
};
use rustix::fs::FileType;

use super::{id::Id, meta::directory};

/// What of `state` is true on another node, too: not its journal and its lock, nor what was under way there. What ran comes with
/// the restore.
const TRAVELS: [&str; 3] = ["releases", "ledger.jsonl", "dns"];

/// No file of them is larger.
const MOST: u64 = 1 << 30;

/// Puts the `state` that came with the fetched snapshot `id` into the node's own. May be done again.
///
/// # Errors
/// Something cannot be read or written.
pub fn adopt(pool: &Path, state: &Path, id: &Id) -> Result<()> {
    let Some(from) = Dir::find(&directory(pool).join(id.to_string()).join("state"))? else { return Ok(()) };
    let (to, walk) = (Dir::open(state)?, Walk::default());
    let all = from.list(&walk)?;
    for entry in TRAVELS.iter().filter_map(|name| all.iter().find(|entry| entry.name == *name)) {
        copy(&from, &to, entry, &walk, 1)?;
    }
    Ok(())
}

/// Containers may write to a part of the state (`dns`): both sides are reached by open directories.
fn copy(from: &Dir, to: &Dir, entry: &DirEntry, walk: &Walk, depth: usize) -> Result<()> {
    let name = Path::new(&entry.name);
    match entry.kind() {
        FileType::Directory => {
            let Some(from) = from.dir(name)? else { return Ok(()) };
            walk.may_enter(&from, depth)?;
            let to = to.make(name)?;
            from.list(walk)?.iter().try_for_each(|entry| copy(&from, &to, entry, walk, depth + 1))
        }
        FileType::RegularFile => match from.read(name, MOST)? {
            Some(bytes) => to.write(&entry.name, &bytes, 0o600),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}
