//! What is set aside, beside the data of all containers.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use lap_base::{
    beneath::{Walk, dir::Dir},
    error::{Error, Kind, Result},
};
use rustix::fs::FileType;

use super::store::{STORE, hex};

/// In the directory of all containers' data: on the same file system as the registry's data, and out of the registry's sight.
const ASIDE: &str = ".lap-prune";
const BLOBS: &str = "blobs";
const GONE: &str = "gone";
/// How often it is tried to put back one layer.
const TRIES: u32 = 5;

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
    put_into(|| store.make(&in_order_of(name)), blobs, name)
}

/// The registry may remove the group's directory between two steps. A layer that is not in place stays set aside: what is set aside is
/// removed only when all of it is in place.
fn put_into(group: impl Fn() -> Result<Dir>, blobs: &Dir, name: &str) -> Result<()> {
    for _ in 0..TRIES {
        let group = group()?;
        // A push may have brought it again.
        if group.metadata(&Path::new(name).join("data"))?.is_some() {
            return Ok(());
        }
        group.remove(name.as_ref())?;
        if blobs.rename(name.as_ref(), &group, name.as_ref())? || blobs.metadata(Path::new(name))?.is_none() {
            return Ok(());
        }
    }
    Err(Error::new(Kind::Node, format!("cannot put back the layer {name}: its directory was removed {TRIES} times"))
        .hint("the registry removes it at the same time: the agent tries again"))
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

#[cfg(test)]
mod tests {
    use std::{cell::Cell, fs};

    use super::*;

    #[test]
    fn a_layer_that_does_not_get_to_its_place_is_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("registry");
        let name = "c".repeat(64);
        let aside = dir.path().join(ASIDE).join(BLOBS).join(&name);
        fs::create_dir_all(&aside).unwrap();
        fs::write(aside.join("data"), "layer").unwrap();
        let place = data.join(STORE).join(in_order_of(&name));
        fs::create_dir_all(&place).unwrap();
        let (store, blobs) = (Dir::open(&data.join(STORE)).unwrap(), Dir::open(aside.parent().unwrap()).unwrap());
        let removed = Cell::new(0);
        // The registry removes the directory as soon as it is open, so many times.
        let group = |times: u32| {
            let (store, removed, place) = (&store, &removed, &place);
            move || {
                let group = store.make(&in_order_of(&"c".repeat(64)))?;
                if removed.get() < times {
                    fs::remove_dir(place).unwrap();
                    removed.set(removed.get() + 1);
                }
                Ok(group)
            }
        };
        let error = put_into(group(u32::MAX), &blobs, &name).unwrap_err();
        assert!(error.message.contains("its directory was removed 5 times") && aside.join("data").exists());
        removed.set(0);
        put_into(group(2), &blobs, &name).unwrap();
        assert_eq!(fs::read_to_string(place.join(&name).join("data")).unwrap(), "layer");
        put_into(group(0), &blobs, &name).unwrap();
    }
}
