//! Fetches a copy from a repository. It becomes a snapshot of this node.

use std::{
    fs::{self, OpenOptions},
    io::Read,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use lap_base::error::{Error, Kind, OrError, Result};
use lap_snapshots as snapshot;
use lap_snapshots::{Id, Meta, Reason, half, order, volume};

/// The maximum size in bytes of a description. Real ones are much smaller.
const MAX_DESCRIPTION: u64 = 64 << 20;

/// Fetches the copy `id` as a snapshot. `generation` is that of its line in the repository. `restore` restores it into
/// the directory that it gets. There, the data starts as the snapshot nearest in time (or as the present data), so only
/// the differences are transferred.
///
/// # Errors
/// The snapshot exists already, or something cannot be read or written. Then nothing is listed.
pub fn fetch(
    name: &str,
    pool: &Path,
    id: &Id,
    generation: Option<u64>,
    restore: impl FnOnce(&Path) -> Result<()>,
) -> Result<Meta> {
    if snapshot::list(pool)?.iter().any(|meta| meta.id == *id) {
        return Err(Error::new(Kind::Usage, format!("the snapshot `{id}` is on the node already"))
            .hint(format!("run `lap restore {id}` to restore it")));
    }
    let half = snapshot::begin(pool, id)?;
    let _held = half::hold_half(pool, id)?;
    let fetched = into(name, pool, &half, id, generation, restore);
    if fetched.is_err() {
        let _ = half::drop_half(&half);
    }
    fetched
}

fn into(
    name: &str,
    pool: &Path,
    half: &Path,
    id: &Id,
    generation: Option<u64>,
    restore: impl FnOnce(&Path) -> Result<()>,
) -> Result<Meta> {
    let data = half.join("data");
    if snapshot::is_btrfs(pool)? {
        let (nearest, held) = nearest(pool, id)?;
        volume::copy(&nearest, &data)?;
        snapshot::nested::empty(&data, held.iter().map(PathBuf::as_path))?;
    } else {
        // On other file systems a copy has new inodes, so no file would count as unchanged.
        volume::create(&data)?;
    }
    restore(half)?;
    let mut text = Vec::new();
    // Root must not follow a symbolic link to another file.
    let described = OpenOptions::new().read(true).custom_flags(nix::libc::O_NOFOLLOW).open(half.join("meta.json"));
    described
        .and_then(|file| file.take(MAX_DESCRIPTION).read_to_end(&mut text))
        .or_error(Kind::Node, || format!("`{name}` has no description of {id}"))?;
    let mut meta: Meta = serde_json::from_slice(&text).or_error(Kind::Node, || format!("the description of {id}"))?;
    if meta.id != *id {
        return Err(Error::new(Kind::Node, format!("`{name}` has {} for {id}", meta.id)));
    }
    if !fs::symlink_metadata(&data).is_ok_and(|meta| meta.is_dir()) {
        return Err(Error::new(Kind::Node, format!("`{name}` has no data of {id}")));
    }
    meta.reason = Reason::Fetched;
    meta.order = order::believed(meta.order, pool, generation);
    volume::set_read_only(&data)?;
    snapshot::nested::settle(half, &meta.nested)?;
    volume::sync(pool)?;
    snapshot::finish(pool, &meta)?;
    Ok(meta)
}

/// Returns the subvolume to start with, and the subvolumes inside it.
fn nearest(pool: &Path, id: &Id) -> Result<(PathBuf, Vec<PathBuf>)> {
    // The names of snapshots are times.
    let all = snapshot::list(pool)?;
    match all.iter().find(|meta| meta.id > *id).or(all.last()) {
        Some(meta) => Ok((snapshot::data(pool, &meta.id), meta.nested.kept.iter().map(PathBuf::from).collect())),
        None => Ok((pool.join("data"), snapshot::nested::present(&pool.join("data"))?.paths)),
    }
}
