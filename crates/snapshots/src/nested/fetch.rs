//! The subvolumes of a snapshot that is fetched from a repository.

use std::path::Path;

use lap_base::error::{Kind, OrError, Result};
use rustix::fs::{AtFlags, unlinkat};

use super::list::{Nested, place};
use crate::subvolume::{is_placeholder, root, split, walk_to};

/// Removes those of the directories `paths` in `data` that are placeholders of subvolumes, because no files can be
/// written into a placeholder. `data` is a copy of a snapshot or of the present data.
///
/// # Errors
/// A directory cannot be removed.
pub fn empty<'a>(data: &Path, paths: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    let open = root(data)?;
    for path in paths {
        let (above, name) = split(path)?;
        // A directory inside another placeholder does not exist.
        let Ok(above) = walk_to(&open, above) else { continue };
        if walk_to(&above, Path::new(name)).is_ok_and(|found| is_placeholder(&found)) {
            unlinkat(&above, name, AtFlags::REMOVEDIR)
                .or_error(Kind::Node, || format!("cannot remove `{}`", crate::subvolume::shown(path)))?;
        }
    }
    Ok(())
}

/// Checks that all subvolumes of `nested` were fetched. They are directories in the repository.
///
/// # Errors
/// A subvolume is missing.
pub fn settle(half: &Path, nested: &Nested) -> Result<()> {
    for (n, path) in nested.kept.iter().enumerate() {
        root(&place(half, n)).or_error(Kind::Node, || format!("the copy does not contain the subvolume `{path}`"))?;
    }
    Ok(())
}
