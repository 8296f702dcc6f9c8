//! The state that a new node adopts from its predecessor.

use std::path::Path;

use lap_base::{
    beneath::{DirEntry, Walk, dir::Dir},
    error::Result,
};
use rustix::fs::FileType;

use super::{id::Id, meta::directory};

/// The entries of `state` that are valid on another node too. The journal, the lock and operations in progress are not.
/// The restore itself records what ran.
const ADOPTED: [&str; 3] = ["releases", "ledger.jsonl", "dns"];

/// The maximum size of a file in bytes.
const MAX_SIZE: u64 = 1 << 30;

/// Copies the `state` of the fetched snapshot `id` into the node's state. The call can be repeated.
///
/// # Errors
/// A file cannot be read or written.
pub fn adopt(pool: &Path, state: &Path, id: &Id) -> Result<()> {
    let Some(from) = Dir::find(&directory(pool).join(id.to_string()).join("state"))? else { return Ok(()) };
    let (to, walk) = (Dir::open(state)?, Walk::default());
    let all = from.list(&walk)?;
    for entry in ADOPTED.iter().filter_map(|name| all.iter().find(|entry| entry.name == *name)) {
        copy(&from, &to, entry, &walk, 1)?;
    }
    Ok(())
}

/// Containers can write to a part of the state (`dns`), so both sides are reached through open directories.
fn copy(from: &Dir, to: &Dir, entry: &DirEntry, walk: &Walk, depth: usize) -> Result<()> {
    let name = Path::new(&entry.name);
    match entry.kind() {
        FileType::Directory => {
            let Some(from) = from.dir(name)? else { return Ok(()) };
            walk.may_enter(&from, depth)?;
            let to = to.make(name)?;
            from.list(walk)?.iter().try_for_each(|entry| copy(&from, &to, entry, walk, depth + 1))
        }
        FileType::RegularFile => match from.read(name, MAX_SIZE)? {
            Some(bytes) => to.write(&entry.name, &bytes, 0o600),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}
