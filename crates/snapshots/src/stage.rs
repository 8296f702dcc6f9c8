//! Puts together what of a snapshot is copied elsewhere.

use std::{
    fs,
    path::{Path, PathBuf},
};

use lap_base::{
    durable,
    error::{Kind, OrError, Result},
};

use super::{
    btrfs,
    filesystem::is_btrfs,
    half::{HALF, drop_half},
    id::Id,
    meta::{data, directory},
    nested, tree, volume,
};

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
    let whole = directory(pool).join(id.to_string());
    fs::copy(whole.join("meta.json"), staged.join("meta.json")).or_error(Kind::Node, what)?;
    nested::stage(&whole, &staged)?;
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
            tree::remove(&new)?;
        }
        match volume::copy(&pool.join("state"), &new) {
            Ok(()) => {
                // The name is believed from now on: what it names is on the disk.
                volume::sync(pool)?;
                let named = durable::publish(&new, &state);
                named.or_error(Kind::Node, || format!("cannot rename `{}`", new.display()))?;
            }
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
