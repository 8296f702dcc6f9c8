//! A copy out of a repository: it becomes a snapshot of this node, like any other.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustic_core::{
    ErrorKind, LocalDestination, LsOptions, RestoreOptions, RusticError, jiff::Timestamp, repofile::Node,
};

use super::copy::PLACE;
use crate::{
    error::{Error, Kind, OrError, Result},
    repository::{Repository, open::guarded, warnings},
    snapshot::{self, Id, Meta, Reason, volume},
};

/// Fetches the copy of `id` that restic calls `restic`. What the node has already, in the snapshot nearest in time or in
/// the present, is read here and not there.
///
/// # Errors
/// It is here already, or something cannot be read or written: then nothing is listed.
pub fn fetch(repository: Repository, pool: &Path, id: &Id, restic: &str) -> Result<Meta> {
    if snapshot::list(pool)?.iter().any(|meta| meta.id == *id) {
        return Err(Error::new(Kind::Usage, format!("the snapshot `{id}` is on the node already"))
            .hint(format!("`lap restore {id}` goes back to it")));
    }
    let half = snapshot::begin(pool, id)?;
    let _held = snapshot::hold_half(pool, id)?;
    let fetched = into(repository, pool, &half, id, restic);
    if fetched.is_err() {
        let _ = snapshot::drop_half(&half);
    }
    fetched
}

fn into(repository: Repository, pool: &Path, half: &Path, id: &Id, restic: &str) -> Result<Meta> {
    let Repository { name, inner, .. } = repository;
    let name = name.as_str();
    let data = half.join("data");
    let tree = guarded(name, || inner.to_indexed())?;
    let node = guarded(name, || tree.node_from_snapshot_path(&format!("{restic}:{PLACE}"), |_| true))?;
    if snapshot::is_btrfs(pool)? {
        volume::copy(&nearest(pool, id)?, &data)?;
    } else {
        // A copy's inodes say nothing there, so that nothing of it would be taken for the same.
        volume::create(&data)?;
    }
    let mut options = RestoreOptions::default();
    options.delete = true;
    options.numeric_id = true;
    options.sparse = Some(serde_json::from_str("\"ByContent\"").or_error(Kind::Other, || "an option".into())?);
    let target = half.to_str().ok_or_else(|| Error::new(Kind::Other, "a path is not UTF-8"))?;
    guarded(name, || {
        let all = tree.ls(&node, &LsOptions::default())?;
        for entry in all.clone() {
            let (path, node) = entry?;
            make_way(&half.join(&path), &node).map_err(|error| {
                RusticError::new(ErrorKind::InputOutput, format!("cannot prepare `{}`: {error}", path.display()))
            })?;
        }
        let destination = LocalDestination::new(target, true, false)?;
        let plan = tree.prepare_restore(&options, all.clone(), &destination, false)?;
        // Setting what is set already would make it look changed.
        let other = all.filter(|entry| !entry.as_ref().is_ok_and(|(path, node)| is_the_same(&half.join(path), node)));
        tree.restore(plan, &options, other, &destination)
    })?;
    warnings::clean()?;
    let path = half.join("meta.json");
    let text = fs::read(&path).or_error(Kind::Node, || format!("`{name}` has no description of {id}"))?;
    let mut meta: Meta = serde_json::from_slice(&text).or_error(Kind::Node, || format!("the description of {id}"))?;
    if meta.id != *id {
        return Err(Error::new(Kind::Node, format!("`{name}` gives {} for {id}", meta.id)));
    }
    meta.reason = Reason::Fetched;
    volume::set_read_only(&data)?;
    snapshot::finish(pool, &meta)?;
    Ok(meta)
}

/// The subvolume to begin with.
fn nearest(pool: &Path, id: &Id) -> Result<PathBuf> {
    // Names are times.
    let all = snapshot::list(pool)?;
    let after = all.iter().find(|meta| meta.id > *id).or(all.last());
    Ok(after.map_or_else(|| pool.join("data"), |meta| snapshot::data(pool, &meta.id)))
}

/// Removes what is not surely the same: the library writes into files that are there, skips zeros, and fails over links.
fn make_way(path: &Path, node: &Node) -> std::io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.is_dir() && !is_the_same(path, node) => fs::remove_file(path),
        _ => Ok(()),
    }
}

/// Whether a file is the very one that was copied, and nobody touched it since: nobody can set the time of its last change.
fn is_the_same(path: &Path, node: &Node) -> bool {
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
