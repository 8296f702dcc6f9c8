//! Puts the subvolumes of a snapshot back into their places.

use std::path::Path;

use lap_base::error::{Error, Kind, OrError, Result};
use rustix::{
    fs::{AtFlags, unlinkat},
    io::Errno,
};

use super::list::{Nested, place};
use crate::{
    subvolume::{path_of, root, shown, split, subvolume_at, walk_to},
    tree, volume,
};

/// Puts the subvolumes below `below` into `target`, which is a copy of that directory of the snapshot's data.
/// `snapshot` is the directory of the snapshot. No container may have access to `target` yet.
///
/// # Errors
/// A subvolume cannot be put back.
pub fn put(snapshot: &Path, nested: &Nested, below: &Path, target: &Path) -> Result<()> {
    for (n, path) in nested.kept.iter().enumerate() {
        let Ok(rest) = Path::new(path).strip_prefix(below) else { continue };
        if !rest.as_os_str().is_empty() {
            one(&place(snapshot, n), target, rest)?;
        }
    }
    Ok(())
}

fn one(from: &Path, target: &Path, path: &Path) -> Result<()> {
    let what = || format!("cannot restore the subvolume `{}`", shown(path));
    let (above, name) = split(path)?;
    let above = walk_to(&root(target)?, above)?;
    match unlinkat(&above, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(Error::new(Kind::Node, format!("{}: {error}", what()))),
    }
    let to = path_of(&above).join(name);
    // A subvolume from a repository, or in a pool without subvolumes, is a directory.
    if subvolume_at(from) { volume::copy(from, &to) } else { tree::copy(from, &to) }.or_error(Kind::Node, what)
}
