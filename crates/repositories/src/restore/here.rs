//! Checks every entry of a snapshot, and then restores it in this process.

use rustix::fs::MetadataExt;
use std::{
    fs,
    path::{Path, PathBuf},
};

use lap_base::{
    error::{Error, Kind, OrError, Result},
    words::bytes,
};
use rustic_core::{
    ErrorKind, IndexedFull, LocalDestination, LsOptions, RusticError, RusticResult, jiff::Timestamp, repofile::Node,
};

use super::{
    job::RestoreKind,
    names::{self, TreeNames},
    rules::{self, Rule},
};
use crate::{
    open::{Repository, guarded},
    warnings,
};

/// Restores into `target`, in this process. Nothing is written before every entry was checked.
///
/// # Errors
/// An entry is forged, or something cannot be read or written. In the second case a part of the data may have been
/// written.
pub fn here(repository: Repository, what: RestoreKind, restic: &str, target: &Path) -> Result<()> {
    let Repository { name, inner, .. } = repository;
    let name = name.as_str();
    let tree = guarded(name, || inner.to_indexed())?;
    let node = guarded(name, || tree.node_from_snapshot_path(&format!("{restic}:{}", what.place()), |_| true))?;
    if !node.is_dir() || node.subtree.is_none() {
        return Err(Error::new(Kind::Refused, format!("`{name}`: `{}` is not a directory in {restic}", what.place())));
    }
    check(&tree, name, what, &node, target)?;
    let options = what.options()?;
    let into = target.to_str().ok_or_else(|| Error::new(Kind::Other, "a path is not UTF-8"))?;
    guarded(name, || {
        let admitted = |entry: &RusticResult<(PathBuf, Node)>| {
            entry.as_ref().is_ok_and(|(path, node)| rules::of(what, path, node) != Rule::Leave) || entry.is_err()
        };
        let all = tree.ls(&node, &LsOptions::default())?.filter(admitted);
        if what == RestoreKind::Snapshot {
            for entry in all.clone() {
                let (path, node) = entry?;
                make_way(&target.join(&path), &node).map_err(|error| {
                    RusticError::new(ErrorKind::InputOutput, format!("cannot prepare `{}`: {error}", path.display()))
                })?;
            }
        }
        let destination = LocalDestination::new(into, true, false)?;
        let plan = tree.prepare_restore(&options, all.clone(), &destination, false)?;
        // If attributes were set again, the file would look changed.
        let other = all.filter(|entry| !entry.as_ref().is_ok_and(|(path, node)| is_the_same(&target.join(path), node)));
        tree.restore(plan, &options, other, &destination)
    })?;
    warnings::clean()
}

/// Checks every entry that rustic_core would restore.
pub(super) fn check(
    tree: &rustic_core::Repository<impl IndexedFull>,
    name: &str,
    what: RestoreKind,
    node: &Node,
    target: &Path,
) -> Result<()> {
    let room = match what {
        // Most of the data exists already, so its size is not a reason to refuse.
        RestoreKind::Snapshot => u64::MAX,
        RestoreKind::Workspace => nix::sys::statvfs::statvfs(target)
            .map(|disk| disk.blocks_available().saturating_mul(disk.fragment_size()))
            .or_error(Kind::Host, || format!("cannot look at `{}`", target.display()))?,
    };
    let (mut names, mut size) = (TreeNames::new(name, node.subtree), 0_u64);
    guarded(name, || {
        for entry in tree.ls(node, &LsOptions::default())? {
            let (path, node) = entry?;
            if let Err(error) = names.check(&path, &node) {
                return Ok(Err(error));
            }
            match rules::of(what, &path, &node) {
                Rule::Restore => {}
                Rule::Leave => continue,
                Rule::Refuse(why) => return Ok(Err(names::forged(name, &path, why))),
            }
            if room < u64::MAX {
                for id in node.content.iter().flatten() {
                    size = size.saturating_add(tree.get_index_entry(id)?.data_length().into());
                }
            }
        }
        Ok(Ok(()))
    })??;
    if size > room {
        let (size, room) = (bytes(size), bytes(room));
        return Err(Error::new(Kind::Refused, format!("the data in `{name}` needs {size}, and {room} are free here"))
            .hint("free some space, or restore to another disk"));
    }
    Ok(())
}

/// Removes a file that may differ from `node`. rustic_core would write into the existing file, skip zeros, and fail at
/// links.
pub(super) fn make_way(path: &Path, node: &Node) -> std::io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.is_dir() && !is_the_same(path, node) => fs::remove_file(path),
        _ => Ok(()),
    }
}

/// Returns whether a file is the one that was copied, without changes since then. No program can set the change time
/// (ctime), so it is a proof.
pub(super) fn is_the_same(path: &Path, node: &Node) -> bool {
    let Ok(here) = fs::symlink_metadata(path) else { return false };
    let time = |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    let then = |time: Option<Timestamp>| time.map(|time| time.as_nanosecond());
    let (modified, changed) = (time(here.mtime(), here.mtime_nsec()), time(here.ctime(), here.ctime_nsec()));
    here.is_file()
        && node.is_file()
        && (here.nlink(), node.meta.links) == (1, 1)
        && (here.ino(), here.size()) == (node.meta.inode, node.meta.size)
        && (Some(modified), Some(changed)) == (then(node.meta.mtime), then(node.meta.ctime))
}
