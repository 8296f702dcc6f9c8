//! Takes and removes snapshots.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use super::{
    Id, Meta, Reason, btrfs,
    filesystem::is_btrfs,
    meta::{data, directory},
    plain::{self, Shot},
    still::{Still, Stood},
    volume,
};
use crate::{
    agent::install::write_file,
    error::{Error, Kind, OrError, Result},
};

/// What a half-taken snapshot is called.
const HALF: &str = ".new-";

/// Takes a snapshot of `pool`'s present data, all containers at the same instant: on btrfs while everything runs, elsewhere while they
/// stand still. Its name was chosen before.
///
/// # Errors
/// The disk is full, or containers would have to stand still for too long. Then there is no snapshot.
pub fn take(pool: &Path, meta: &Meta, still: &mut dyn Still) -> Result<Option<Stood>> {
    is_one_piece(pool)?;
    let half = begin(pool, &meta.id)?;
    let taken = fill(pool, &half, meta, still).and_then(|stood| finish(pool, meta).map(|()| stood));
    if taken.is_err() {
        let _ = drop_half(&half);
    }
    taken
}

fn fill(pool: &Path, half: &Path, meta: &Meta, still: &mut dyn Still) -> Result<Option<Stood>> {
    if is_btrfs(pool)? {
        return btrfs::snapshot(&pool.join("data"), &half.join("data"), true).map(|()| None);
    }
    Shot::begin(pool, half, &[], still)?.end(&meta.id, still).map(Some)
}

/// A snapshot must hold all there is, and what is in another subvolume would be missing without a word.
///
/// # Errors
/// A container made a subvolume in its data.
pub fn is_one_piece(pool: &Path) -> Result<()> {
    let data = pool.join("data");
    let nested = volume::nested(pool, &data)?;
    let Some(one) = nested.first() else { return Ok(()) };
    let name = one.strip_prefix(&data).unwrap_or(one).to_string_lossy().escape_debug().to_string();
    Err(Error::new(Kind::Refused, format!("`{name}` is a btrfs subvolume of its own, which a snapshot would not hold"))
        .hint(format!("make it a directory: `cp --archive --reflink`, then `btrfs subvolume delete /data/{name}`")))
}

/// A name that no snapshot of that second has.
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

/// Where a snapshot is while it is being made.
pub fn half(pool: &Path, id: &Id) -> PathBuf {
    directory(pool).join(format!("{HALF}{id}"))
}

/// Makes the place of a snapshot that is about to be made.
pub fn begin(pool: &Path, id: &Id) -> Result<PathBuf> {
    let half = half(pool, id);
    fs::create_dir(&half).or_error(Kind::Node, || format!("cannot make `{}`", half.display()))?;
    Ok(half)
}

/// Gives a snapshot whose data is in place its description and, last, its name.
///
/// All of it goes to the disk at once, in the end: whoever writes waits for each sync. If the machine dies before that, the
/// name may be there without the description; then it is no snapshot, and [`sweep`] removes it.
pub fn finish(pool: &Path, meta: &Meta) -> Result<()> {
    let half = half(pool, &meta.id);
    let text = serde_json::to_vec_pretty(meta).or_error(Kind::Other, || "cannot describe a snapshot".into())?;
    let described = half.join("meta.json");
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&described);
    made.and_then(|mut file| file.write_all(&text))
        .or_error(Kind::Node, || format!("cannot write `{}`", described.display()))?;
    let whole = directory(pool).join(meta.id.to_string());
    fs::rename(&half, &whole).or_error(Kind::Node, || format!("cannot rename `{}`", half.display()))?;
    volume::sync(pool)
}

/// Writes the description of a snapshot anew.
///
/// # Errors
/// It cannot be written; then the old one stands.
pub fn describe(pool: &Path, meta: &Meta) -> Result<()> {
    let text = serde_json::to_vec_pretty(meta).or_error(Kind::Other, || "cannot describe a snapshot".into())?;
    write_file(&directory(pool).join(meta.id.to_string()).join("meta.json"), &text, 0o600)
}

/// Makes the place `half` into which a snapshot from elsewhere is unpacked; gives the number of its subvolume.
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

/// Gives what was unpacked the name that its description says.
///
/// # Errors
/// It has none, or there is one of that name.
pub fn finish_import(pool: &Path, unpacked: &Path, number: u64) -> Result<Meta> {
    // An archive may hold a link of this name, and what it leads to is not ours to make read-only.
    let place = unpacked.join("data");
    let is_ours =
        fs::symlink_metadata(&place).is_ok_and(|meta| meta.is_dir()) && volume::number(&place).ok() == Some(number);
    if !is_ours {
        return Err(Error::new(Kind::Usage, "the archive is no snapshot of lap"));
    }
    let text =
        fs::read(unpacked.join("meta.json")).or_error(Kind::Usage, || "the archive is no snapshot of lap".into())?;
    let mut meta: Meta =
        serde_json::from_slice(&text).or_error(Kind::Usage, || "the archive is no snapshot of lap".into())?;
    if directory(pool).join(meta.id.to_string()).exists() {
        return Err(Error::new(Kind::Refused, format!("there is already a snapshot {}", meta.id))
            .hint(format!("`lap snapshot rm {}` makes room for it", meta.id)));
    }
    // Whoever took the trouble wants to keep it.
    meta.reason = Reason::Asked;
    volume::set_read_only(&place)?;
    let half = half(pool, &meta.id);
    fs::rename(unpacked, &half).or_error(Kind::Node, || format!("cannot rename `{}`", unpacked.display()))?;
    finish(pool, &meta)?;
    Ok(meta)
}

/// Removes a snapshot: first its name, so that it is listed no more, then its data.
///
/// # Errors
/// There is none of this name, or btrfs refuses.
pub fn remove(pool: &Path, id: &Id) -> Result<()> {
    let whole = directory(pool).join(id.to_string());
    if !whole.exists() {
        return Err(
            Error::new(Kind::Usage, format!("there is no snapshot `{id}`")).hint("`lap snapshot list` shows them")
        );
    }
    let Some(_mine) = alone(&whole)? else {
        return Err(Error::new(Kind::Locked, format!("the snapshot `{id}` is being copied")).hint("try again later"));
    };
    let half = half(pool, id);
    fs::rename(&whole, &half).or_error(Kind::Node, || format!("cannot rename `{}`", whole.display()))?;
    plain::forget(pool, id);
    drop_half(&half)
}

/// Keeps a snapshot from being removed, as long as what is returned lives.
///
/// # Errors
/// It is gone.
pub fn hold(pool: &Path, id: &Id) -> Result<Flock<File>> {
    shared(&directory(pool).join(id.to_string()))
}

/// The same for one that is being made.
///
/// # Errors
/// It is gone.
pub fn hold_half(pool: &Path, id: &Id) -> Result<Flock<File>> {
    shared(&half(pool, id))
}

/// Puts together what of a snapshot is copied elsewhere: its data, its description, and the pool's `state` of now, none of
/// which changes any more. `who` tells those apart that copy at the same time.
///
/// # Errors
/// The pool is full.
pub fn stage(pool: &Path, id: &Id, who: u32) -> Result<PathBuf> {
    if !is_btrfs(pool)? {
        return with_state(pool, id);
    }
    let staged = staged(pool, who);
    if staged.exists() {
        drop_half(&staged)?;
    }
    let what = || format!("cannot make `{}`", staged.display());
    fs::create_dir(&staged).or_error(Kind::Node, what)?;
    btrfs::snapshot(&data(pool, id), &staged.join("data"), true)?;
    btrfs::snapshot(&pool.join("state"), &staged.join("state"), true)?;
    fs::copy(directory(pool).join(id.to_string()).join("meta.json"), staged.join("meta.json"))
        .or_error(Kind::Node, what)?;
    Ok(staged)
}

/// The same where a copy would cost room: the snapshot itself, and `state` as it was when it was first copied.
fn with_state(pool: &Path, id: &Id) -> Result<PathBuf> {
    let whole = directory(pool).join(id.to_string());
    let (state, new) = (whole.join("state"), whole.join("state.lap-new"));
    // It changes meanwhile: a file that goes away is looked for once more.
    for attempt in 0.. {
        if state.exists() {
            break;
        }
        if new.exists() {
            fs::remove_dir_all(&new).or_error(Kind::Node, || format!("cannot remove `{}`", new.display()))?;
        }
        match volume::copy(&pool.join("state"), &new) {
            Ok(()) => fs::rename(&new, &state).or_error(Kind::Node, || format!("cannot rename `{}`", new.display()))?,
            Err(error) if attempt == 5 => return Err(error),
            Err(_) => {}
        }
    }
    Ok(whole)
}

/// Removes what [`stage`] made, if it is there.
///
/// # Errors
/// btrfs refuses.
pub fn unstage(pool: &Path, who: u32) -> Result<()> {
    let staged = staged(pool, who);
    if staged.exists() { drop_half(&staged) } else { Ok(()) }
}

fn staged(pool: &Path, who: u32) -> PathBuf {
    directory(pool).join(format!("{HALF}copy-{who}"))
}

/// Removes what a killed process left of a snapshot that it was making; `false`: another process still writes there.
///
/// # Errors
/// btrfs refuses.
pub fn abandon(pool: &Path, id: &Id) -> Result<bool> {
    let half = half(pool, id);
    if !half.exists() {
        return Ok(true);
    }
    match alone(&half)? {
        Some(_mine) => drop_half(&half).map(|()| true),
        None => Ok(false),
    }
}

fn shared(path: &Path) -> Result<Flock<File>> {
    let what = || format!("cannot lock `{}`", path.display());
    let file = File::open(path).or_error(Kind::Node, what)?;
    Flock::lock(file, FlockArg::LockShared).map_err(|(_, error)| error).or_error(Kind::Node, what)
}

/// `None`: somebody holds it.
fn alone(path: &Path) -> Result<Option<Flock<File>>> {
    let what = || format!("cannot lock `{}`", path.display());
    let file = File::open(path).or_error(Kind::Node, what)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error).or_error(Kind::Node, what),
    }
}

/// Removes a snapshot that has no name, or no longer.
///
/// # Errors
/// btrfs refuses.
pub fn drop_half(half: &Path) -> Result<()> {
    for part in ["data", "state"] {
        let path = half.join(part);
        // What a copy brought of `state` is a directory.
        let is_there = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir());
        if is_there
            && (part == "data" || volume::number(&path).is_ok_and(|number| volume::number(half).ok() != Some(number)))
        {
            // It is `<pool>/snapshots/<half>`.
            volume::delete_all(half.ancestors().nth(2).unwrap_or(half), &path)?;
        }
    }
    fs::remove_dir_all(half).or_error(Kind::Node, || format!("cannot remove `{}`", half.display()))
}

/// Removes what was left in the middle: snapshots half taken or half removed.
///
/// # Errors
/// Something cannot be removed.
pub fn sweep(pool: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(directory(pool)) else { return Ok(()) };
    for entry in entries.flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        if name.starts_with(HALF) || (name.parse::<Id>().is_ok() && is_not_described(&path)) {
            drop_half(&path)?;
        }
    }
    plain::sweep(pool);
    Ok(())
}

/// Whether its description never came to the disk. One that is there and says something else is not looked at further.
fn is_not_described(snapshot: &Path) -> bool {
    let cut_off = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).is_err_and(|error| error.is_eof());
    fs::read(snapshot.join("meta.json")).is_ok_and(|text| text.iter().all(|byte| *byte == 0) || cut_off(&text))
}

/// Whether a snapshot's data is there.
pub fn is_whole(pool: &Path, id: &Id) -> bool {
    data(pool, id).is_dir()
}
