//! Why something cannot be removed.

use std::{
    ffi::OsStr,
    fs,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, StatxAttributes, StatxFlags, statx},
    io::Errno,
};

use super::dir::{cannot, reach, shown};
use crate::error::{Error, Kind};

/// A refusal of the kernel, and what it is about if a file attribute is the reason.
#[derive(Debug)]
pub(super) struct Stuck {
    pub(super) error: Errno,
    /// Its path, and the attribute as chattr(1) names it.
    locked: Option<(PathBuf, char)>,
}

impl From<Errno> for Stuck {
    fn from(error: Errno) -> Self {
        Self { error, locked: None }
    }
}

impl Stuck {
    /// `name` in the directory `above` could not be removed. An attribute of the file or of its directory may be the reason.
    pub(super) fn at(above: BorrowedFd<'_>, name: &OsStr, error: Errno) -> Self {
        let locked = || {
            let place = fs::read_link(reach(above)).ok()?;
            let of_file = attribute(above, name).map(|letter| (place.join(name), letter));
            of_file.or_else(|| attribute(above, OsStr::new(".")).map(|letter| (place, letter)))
        };
        Self { error, locked: if error == Errno::PERM { locked() } else { None } }
    }

    /// The error for a user, about the tree at `path`.
    pub(super) fn about(self, path: &Path) -> Error {
        let Some((locked, letter)) = self.locked else { return cannot("remove", path, self.error) };
        let word = if letter == 'i' { "immutable" } else { "append-only" };
        let (path, locked) = (shown(path), shown(&locked));
        let message = format!("cannot remove `{path}`: `{locked}` is {word} (chattr)");
        Error::new(Kind::Refused, message)
            .hint(format!("remove the attribute on the node: `chattr -{letter} '{locked}'`, then try again"))
    }
}

/// The attribute that keeps `name` from being removed, as chattr(1) names it.
fn attribute(above: BorrowedFd<'_>, name: &OsStr) -> Option<char> {
    let found = statx(above, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty()).ok()?.stx_attributes;
    if found.contains(StatxAttributes::IMMUTABLE) {
        Some('i')
    } else {
        found.contains(StatxAttributes::APPEND).then_some('a')
    }
}
