//! Takes snapshots and gives them their names.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use lap_base::{
    durable::{self, write_file},
    error::{Error, Kind, OrError, Result},
};

use super::{
    btrfs,
    filesystem::is_btrfs,
    half::{drop_half, half},
    id::Id,
    meta::{Meta, Reason, data, directory},
    nested::{self, list::Nested},
    order,
    plain::Shot,
    still::{Still, Stood},
    volume,
};

/// The result of taking a snapshot.
#[derive(Debug)]
pub struct TakeStats {
    /// The duration of the freeze, if there was one.
    pub stood: Option<Stood>,
    pub nested: Nested,
}

/// Takes a snapshot of the present data of `pool`, at the same instant for all containers: on btrfs while they run, on
/// other file systems while they are frozen. `meta` contains the chosen id. Subvolumes that containers made in their
/// data are taken directly after it.
///
/// # Errors
/// The disk is full, or the freeze would take too long. Then there is no snapshot.
pub fn take(pool: &Path, meta: &Meta, still: &mut dyn Still) -> Result<TakeStats> {
    let half = begin(pool, &meta.id)?;
    let taken = fill(pool, &half, meta, still).and_then(|taken| {
        finish(pool, &Meta { nested: taken.nested.clone(), ..meta.clone() })?;
        Ok(taken)
    });
    if taken.is_err() {
        let _ = drop_half(&half);
    }
    taken
}

fn fill(pool: &Path, half: &Path, meta: &Meta, still: &mut dyn Still) -> Result<TakeStats> {
    if is_btrfs(pool)? {
        let nested = copy_present(pool, half, true, None)?;
        return Ok(TakeStats { stood: None, nested });
    }
    let stood = Shot::begin(pool, half, &[], still)?.end(&meta.id, still)?;
    Ok(TakeStats { stood: Some(stood), nested: Nested::default() })
}

/// Makes `half/data` a snapshot of the present data, and takes its subvolumes except those in the directory `leave`.
/// The pool must be btrfs.
///
/// # Errors
/// The disk is full.
pub fn copy_present(pool: &Path, half: &Path, read_only: bool, leave: Option<&str>) -> Result<Nested> {
    let present = pool.join("data");
    // A subvolume that is removed during the snapshot is only in the first list, and one that is made during it only in
    // the second.
    let before = nested::present(&present)?;
    btrfs::snapshot(&present, &half.join("data"), read_only)?;
    nested::take(&present, half, &before, leave)
}

/// Returns an id for the second `at` that no snapshot has.
pub fn free_id(pool: &Path, at: i64) -> Id {
    let taken = |id: &Id| directory(pool).join(id.to_string()).exists();
    let mut nth = 1;
    loop {
        let id = Id::new(at, nth);
        if !taken(&id) {
            return id;
        }
        nth += 1;
    }
}

/// Makes the directory of an incomplete snapshot.
pub fn begin(pool: &Path, id: &Id) -> Result<PathBuf> {
    let half = half(pool, id);
    fs::create_dir(&half).or_error(Kind::Node, || format!("cannot make `{}`", half.display()))?;
    Ok(half)
}

/// Writes the description of a snapshot and, last, gives it its name. The caller must have synchronized its data. Both
/// the name and the description are on the disk when the call returns.
///
/// # Errors
/// A file cannot be written.
pub fn finish(pool: &Path, meta: &Meta) -> Result<()> {
    let (half, whole) = (half(pool, &meta.id), directory(pool).join(meta.id.to_string()));
    let described = half.join("meta.json");
    let text = text(meta)?;
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&described);
    made.and_then(|mut file| {
        file.write_all(&text)?;
        file.sync_all()
    })
    .or_error(Kind::Node, || format!("cannot write `{}`", described.display()))?;
    let publish = if is_btrfs(pool)? { durable::publish_with_commit } else { durable::publish };
    publish(&half, &whole).or_error(Kind::Node, || format!("cannot rename `{}`", half.display()))
}

/// Returns whether the snapshot of `meta` is complete. If its data has its name but its description is unreadable, the
/// description is written again: data gets its name only when it is complete.
///
/// # Errors
/// The description cannot be written.
pub fn complete(pool: &Path, meta: &Meta) -> Result<bool> {
    if is_whole(pool, &meta.id) {
        return Ok(true);
    }
    let is_there = data(pool, &meta.id).is_dir();
    if is_there {
        describe(pool, meta)?;
    }
    Ok(is_there)
}

/// Returns whether a snapshot is complete: its data exists, and its `meta.json` is readable and names it.
pub fn is_whole(pool: &Path, id: &Id) -> bool {
    data(pool, id).is_dir() && described(pool, id).is_some()
}

/// Returns the description of a snapshot if it is readable and names this snapshot.
pub fn described(pool: &Path, id: &Id) -> Option<Meta> {
    let text = fs::read(directory(pool).join(id.to_string()).join("meta.json")).ok()?;
    serde_json::from_slice::<Meta>(&text).ok().filter(|meta| meta.id == *id)
}

fn text(meta: &Meta) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(meta).or_error(Kind::Other, || "cannot describe a snapshot".into())
}

/// Writes the description of a snapshot again.
///
/// # Errors
/// The file cannot be written. Then the old file remains.
pub fn describe(pool: &Path, meta: &Meta) -> Result<()> {
    write_file(&directory(pool).join(meta.id.to_string()).join("meta.json"), &text(meta)?, 0o600)
}

/// Makes the directory `half` into which an archive is unpacked. Returns the number of its subvolume.
///
/// # Errors
/// The pool is full.
pub fn prepare_import(half: &Path) -> Result<u64> {
    if half.exists() {
        drop_half(half)?;
    }
    fs::create_dir(half).or_error(Kind::Node, || format!("cannot make `{}`", half.display()))?;
    volume::create(&half.join("data"))?;
    volume::number(&half.join("data"))
}

/// Gives the unpacked snapshot the name in its description.
///
/// # Errors
/// It has no valid description, or a snapshot of this name exists.
pub fn finish_import(pool: &Path, unpacked: &Path, number: u64) -> Result<Meta> {
    // An archive may contain a link of this name. Its target must not be made read-only.
    let place = unpacked.join("data");
    let is_ours =
        fs::symlink_metadata(&place).is_ok_and(|meta| meta.is_dir()) && volume::number(&place).ok() == Some(number);
    if !is_ours {
        return Err(Error::new(Kind::Usage, "the archive is not a snapshot of lap"));
    }
    let text =
        fs::read(unpacked.join("meta.json")).or_error(Kind::Usage, || "the archive is not a snapshot of lap".into())?;
    let mut meta: Meta =
        serde_json::from_slice(&text).or_error(Kind::Usage, || "the archive is not a snapshot of lap".into())?;
    if directory(pool).join(meta.id.to_string()).exists() {
        return Err(Error::new(Kind::Refused, format!("snapshot {} exists already", meta.id))
            .hint(format!("remove it with `lap snapshot rm {}`", meta.id)));
    }
    // A user imported it, so the user wants to keep it.
    meta.reason = Reason::Asked;
    meta.order = order::believed(meta.order, pool, None);
    meta.nested = meta.nested.left_behind("an archive does not contain subvolumes");
    volume::set_read_only(&place)?;
    volume::sync(pool)?;
    let half = half(pool, &meta.id);
    fs::rename(unpacked, &half).or_error(Kind::Node, || format!("cannot rename `{}`", unpacked.display()))?;
    finish(pool, &meta)?;
    Ok(meta)
}
