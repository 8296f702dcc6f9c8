//! Prepares the parts of a snapshot for a copy.

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

/// Prepares a directory with the parts of a snapshot that are copied: its data, its description, and the present
/// `state` of the pool. None of them changes during the copy. `who` distinguishes copies that run at the same time.
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

/// Prepares the snapshot's own directory, where a copy would need space. `state` is that of the time of the first copy.
fn with_state(pool: &Path, id: &Id) -> Result<PathBuf> {
    let whole = directory(pool).join(id.to_string());
    let (state, new) = (whole.join("state"), whole.join("state.lap-new"));
    // `state` may change at the same time. If a file disappears, the copy is repeated.
    for attempt in 0.. {
        if state.exists() {
            break;
        }
        if new.exists() {
            tree::remove(&new)?;
        }
        match volume::copy(&pool.join("state"), &new) {
            Ok(()) => {
                // The content must be on the disk before it gets its name.
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

/// Removes the directory that [`stage`] made, if it exists.
///
/// # Errors
/// btrfs reports an error.
pub fn unstage(pool: &Path, who: u32) -> Result<()> {
    let staged = staged(pool, who);
    if staged.exists() { drop_half(&staged) } else { Ok(()) }
}

fn staged(pool: &Path, who: u32) -> PathBuf {
    directory(pool).join(format!("{HALF}copy-{who}"))
}
