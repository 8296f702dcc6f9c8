//! What is set aside, beside the data of all containers.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use lap_base::{
    beneath::{Walk, dir::Dir},
    error::Result,
};
use rustix::fs::FileType;

use super::store::{STORE, hex};

/// In the directory of all containers' data: on the same file system as the registry's data, and out of the registry's sight.
const ASIDE: &str = ".lap-prune";
const BLOBS: &str = "blobs";
const GONE: &str = "gone";

/// The directory of all containers' data.
fn above(data: &Path) -> Result<Option<Dir>> {
    Dir::find(data.parent().unwrap_or(data))
}

/// The directory in which a layer lies.
pub(super) fn in_order_of(hex: &str) -> PathBuf {
    Path::new("blobs/sha256").join(hex.get(..2).unwrap_or_default())
}

/// The open directory of what is set aside.
pub(super) struct Aside {
    above: Dir,
    open: Dir,
}

impl Aside {
    pub(super) fn make(data: &Path) -> Result<Self> {
        let above = Dir::open(data.parent().unwrap_or(data))?;
        let open = above.make(Path::new(ASIDE))?;
        Ok(Self { above, open })
    }

    pub(super) fn blobs(&self) -> Result<Dir> {
        self.open.make(Path::new(BLOBS))
    }

    /// Removes `name` of the registry's directory `from`: first its name, so that the registry sees all of it or nothing. The name is off
    /// the disk before its content is, and before anything that it needs is removed.
    pub(super) fn discard(&self, from: &Dir, name: &OsStr) -> Result<()> {
        // What an agent left that was killed.
        self.open.remove(GONE.as_ref())?;
        if !from.rename(name, &self.open, GONE.as_ref())? {
            return Ok(());
        }
        self.open.sync()?;
        from.sync()?;
        self.open.remove(GONE.as_ref())
    }

    /// What is not empty stays.
    pub(super) fn drop_if_empty(&self) {
        let _ = self.above.remove_empty(ASIDE.as_ref());
    }
}

/// Puts back all that was set aside, when nobody is at it any more.
///
/// # Errors
/// The disk says why.
pub fn put_all_back(data: &Path) -> Result<()> {
    put_back(data, |_| true)?;
    drop_aside(data)
}

/// Puts back the layers that `wanted` names by their hex digits.
pub(super) fn put_back(data: &Path, wanted: impl Fn(&str) -> bool) -> Result<()> {
    let Some(above) = above(data)? else { return Ok(()) };
    match above.dir(&Path::new(ASIDE).join(BLOBS))? {
        Some(blobs) => put_from(data, &blobs, wanted),
        None => Ok(()),
    }
}

fn put_from(data: &Path, blobs: &Dir, wanted: impl Fn(&str) -> bool) -> Result<()> {
    // Also where the registry's data is gone by now: what is set aside was its own.
    let above = Dir::open(data.parent().unwrap_or(data))?;
    let store = above.make(&Path::new(data.file_name().unwrap_or_default()).join(STORE))?;
    let mut all = Ok(());
    for entry in blobs.list(&Walk::default())? {
        let name = entry.text();
        if hex(&format!("sha256:{name}")).is_ok() && wanted(&name) {
            // One that cannot be put back keeps no other from it.
            all = all.and(put_one(&store, blobs, &name));
        }
    }
    all
}

fn put_one(store: &Dir, blobs: &Dir, name: &str) -> Result<()> {
    let group = store.make(&in_order_of(name))?;
    // A push may have brought it again.
    if group.metadata(&Path::new(name).join("data"))?.is_none() {
        group.remove(name.as_ref())?;
        blobs.rename(name.as_ref(), &group, name.as_ref())?;
    }
    Ok(())
}

/// Whether layers are set aside.
pub fn is_set_aside(data: &Path) -> bool {
    // What cannot be looked at may be there: then `put_all_back` says why.
    let look = || above(data)?.map_or(Ok(None), |above| above.metadata(Path::new(ASIDE)));
    look().map_or(true, |found| found.is_some())
}

pub(super) fn drop_aside(data: &Path) -> Result<()> {
    above(data)?.map_or(Ok(()), |above| above.remove(ASIDE.as_ref()))
}

/// Takes over what an earlier lap set aside inside the registry's data, where it would not be safe: once, at the agent's start. A link of
/// that name is the registry's own and stays.
///
/// # Errors
/// The disk says why.
pub fn take_over(data: &Path) -> Result<()> {
    let Some(registry) = Dir::find(data)? else { return Ok(()) };
    let Some(old) = registry.metadata(Path::new(ASIDE))? else { return Ok(()) };
    if FileType::from_raw_mode(old.st_mode) != FileType::Directory {
        return Ok(());
    }
    if let Some(blobs) = registry.dir(&Path::new(ASIDE).join(BLOBS))? {
        put_from(data, &blobs, |_| true)?;
    }
    registry.remove(ASIDE.as_ref())
}
