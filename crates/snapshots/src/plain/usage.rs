//! What a snapshot holds on to.

use std::{collections::HashMap, path::Path};

use lap_base::{
    beneath::Dir,
    error::{Kind, Result},
};

use crate::tree::read_tree;

/// Bytes that only this directory has, and all it has. Files count, and which other snapshots have them, too; what xfs lets a copy
/// share with the present counts as the copy's own.
///
/// # Errors
/// Something cannot be read.
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
                // It is gone, or something else is in its place.
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
