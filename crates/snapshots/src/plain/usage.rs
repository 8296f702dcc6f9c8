//! The size of a snapshot.

use std::{collections::HashMap, path::Path};

use lap_base::{
    beneath::Dir,
    error::{Kind, Result},
};

use crate::tree::read_tree;

/// Returns the size of the directory in bytes: first the part that it shares with no other snapshot, then the total.
/// Only hard links count as shared: on XFS, data that a copy shares with the present data (reflinks) counts as its own.
///
/// # Errors
/// A file cannot be read.
pub fn usage(path: &Path) -> Result<(u64, u64)> {
    let root = Dir::open(path)?;
    let tree = read_tree(&root, &[])?;
    let mut seen: HashMap<u64, u64> = HashMap::new();
    let (mut own, mut total) = (0, 0);
    for dir in &tree.dirs {
        for (name, node) in &dir.files {
            let here = seen.entry(node.inode).or_default();
            *here += 1;
            let (first, last) = (*here == 1, *here == node.links);
            if !first && !last {
                continue;
            }
            let stat = match root.metadata(&dir.path.join(name)) {
                Ok(Some(stat)) => stat,
                // The file was removed or replaced.
                Ok(None) => continue,
                Err(error) if error.kind == Kind::Refused => continue,
                Err(error) => return Err(error),
            };
            let size = stat.st_blocks.cast_unsigned() * 512;
            total += if first { size } else { 0 };
            own += if last { size } else { 0 };
        }
    }
    Ok((own, total))
}
