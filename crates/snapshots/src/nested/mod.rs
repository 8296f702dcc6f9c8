//! The subvolumes that containers make in their data. podman and buildkit do so, and they need no right except write
//! access to the directory. A snapshot of the data contains an empty directory in the place of each subvolume, so each
//! subvolume gets its own snapshot beside the data:
//!
//! ```text
//! snapshots/<id>/data/git/layers     an empty directory
//! snapshots/<id>/nested/0            the content of the subvolume
//! snapshots/<id>/meta.json           "nested": {"kept": ["git/layers"]}
//! ```
//!
//! These snapshots are taken one after the other, so they are not from the same instant as the data. If one of them
//! fails, the reason is recorded, and the snapshot is taken nevertheless, as an incomplete one. A restore puts each
//! subvolume back as a writable subvolume.
//!
//! A container may change its data at any time. So a path in it is followed without links and without leaving the data,
//! and each result is checked again through the open directory.

mod fetch;
mod find;
pub mod list;

mod put;
pub mod remove;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

pub use fetch::{empty, settle};
pub use find::All;
use lap_base::{
    beneath::dir::Dir,
    error::{Kind, OrError, Result},
};
pub use put::put;
pub use remove::{clear, drop_kept, remove_inside};

use self::list::{BESIDE, Missing, Nested};
pub use super::subvolume::{is_inside, is_subvolume, stands_for, subvolume_at};
use super::{
    btrfs,
    filesystem::is_btrfs,
    subvolume::{self, is_placeholder, root, walk_to},
    tree,
};
use find::all;

/// The maximum number of subvolumes in a snapshot. Each one costs a commit of the file system.
const MAX_SUBVOLUMES: usize = 1000;

/// Returns the subvolumes in the present data.
///
/// # Errors
/// They cannot be listed.
pub fn present(data: &Path) -> Result<All> {
    if is_btrfs(data)? { all(data, MAX_SUBVOLUMES) } else { Ok(All::default()) }
}

/// Puts the subvolumes beside the data of the snapshot `from` into `to`, from which they are copied to a repository.
///
/// # Errors
/// The pool is full.
pub fn stage(from: &Path, to: &Path) -> Result<()> {
    let (from, to) = (from.join(BESIDE), to.join(BESIDE));
    let what = || format!("cannot make `{}`", to.display());
    let entries = match fs::read_dir(&from) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.or_error(Kind::Node, what)?,
    };
    fs::create_dir(&to).or_error(Kind::Node, what)?;
    for entry in entries {
        let entry = entry.or_error(Kind::Node, what)?;
        let copy = to.join(entry.file_name());
        if subvolume_at(&entry.path()) {
            btrfs::snapshot(&entry.path(), &copy, true)?;
        } else {
            tree::copy(&entry.path(), &copy)?;
        }
    }
    Ok(())
}

/// Takes snapshots of the subvolumes in `data`. The directory `half` contains a snapshot of `data` already. `before`
/// contains the subvolumes that existed before that snapshot. `leave` is lap's own directory in the data, which is
/// ignored. The call can be repeated.
///
/// # Errors
/// The subvolumes cannot be listed. A subvolume whose snapshot fails is recorded, and is no error.
pub fn take(data: &Path, half: &Path, before: &All, leave: Option<&str>) -> Result<Nested> {
    let mut nested = Nested::default();
    if !is_btrfs(data)? {
        return Ok(nested);
    }
    let now = present(data)?;
    let is_ours = |path: &PathBuf| leave.is_some_and(|leave| path.starts_with(leave));
    // Parents sort before their children.
    let paths: BTreeSet<&PathBuf> = before.paths.iter().chain(&now.paths).filter(|path| !is_ours(path)).collect();
    for Missing { path, why } in before.missing.iter().chain(&now.missing) {
        if !nested.missing.iter().any(|known| known.path == *path) {
            nested.missing.push(Missing { path: path.clone(), why: why.clone() });
        }
    }
    if paths.is_empty() {
        return Ok(nested);
    }
    let place = half.join(BESIDE);
    drop_kept(half)?;
    fs::create_dir(&place).or_error(Kind::Node, || format!("cannot make `{}`", place.display()))?;
    let (present, copy) = (root(data)?, root(&half.join("data"))?);
    for path in paths {
        if nested.kept.len() == MAX_SUBVOLUMES {
            nested.miss(path, format!("a snapshot contains at most {MAX_SUBVOLUMES} subvolumes"));
            continue;
        }
        let Some(text) = path.to_str() else {
            nested.miss(path, "its name is not UTF-8");
            continue;
        };
        if let Err(why) = has_its_place(&copy, &place, &nested.kept, path) {
            nested.miss(path, why);
            continue;
        }
        let Some(found) = walk_to(&present, path).ok().filter(is_subvolume) else {
            nested.miss(path, "it was removed during the snapshot");
            continue;
        };
        match btrfs::snapshot(&subvolume::path_of(&found), &place.join(nested.kept.len().to_string()), true) {
            Ok(()) => nested.kept.push(text.to_owned()),
            Err(error) => nested.miss(path, error.message),
        }
    }
    Ok(nested)
}

/// Checks that the snapshot around the subvolume contains an empty directory in its place. If it does not, the
/// subvolume was made later, and a restore has no place for it.
fn has_its_place(copy: &Dir, beside: &Path, kept: &[String], path: &Path) -> Result<(), String> {
    let around = kept.iter().enumerate().rev().find_map(|(n, kept)| Some((n, path.strip_prefix(kept).ok()?)));
    let placeholder = match around {
        Some((n, rest)) => root(&beside.join(n.to_string())).and_then(|root| walk_to(&root, rest)),
        None => walk_to(copy, path),
    };
    match placeholder {
        // For the data before a restore, the data itself is the copy, so the subvolume itself is in its place.
        Ok(found) if is_placeholder(&found) || is_subvolume(&found) => Ok(()),
        _ => Err("it was made during the snapshot, or its directory is not in the snapshot".into()),
    }
}
