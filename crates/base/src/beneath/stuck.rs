//! The reason why a file cannot be removed.

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

/// An error of the kernel. If a file attribute is the cause, it contains the file and the attribute.
#[derive(Debug)]
pub(super) struct Stuck {
    pub(super) error: Errno,
    /// The path of the file, and the letter of the attribute in chattr(1).
    locked: Option<(PathBuf, char)>,
}

impl From<Errno> for Stuck {
    fn from(error: Errno) -> Self {
        Self { error, locked: None }
    }
}

impl Stuck {
    /// Makes the error for `name` in the directory `above`. An attribute of the file or of its directory may be the
    /// cause.
    pub(super) fn at(above: BorrowedFd<'_>, name: &OsStr, error: Errno) -> Self {
        let locked = || {
            let place = fs::read_link(reach(above)).ok()?;
            let of_file = attribute(above, name).map(|letter| (place.join(name), letter));
            of_file.or_else(|| attribute(above, OsStr::new(".")).map(|letter| (place, letter)))
        };
        Self { error, locked: if error == Errno::PERM { locked() } else { None } }
    }

    /// Returns the error for the user about the tree at `path`.
    pub(super) fn about(self, path: &Path) -> Error {
        let Some((locked, letter)) = self.locked else { return cannot("remove", path, self.error) };
        let word = if letter == 'i' { "immutable" } else { "append-only" };
        let (path, locked) = (shown(path), shown(&locked));
        let message = format!("cannot remove `{path}`: `{locked}` is {word} (chattr)");
        Error::new(Kind::Refused, message)
            .hint(format!("remove the attribute on the node: `chattr -{letter} '{locked}'`, then try again"))
    }
}

/// Returns the letter in chattr(1) of the attribute that prevents the removal of `name`.
fn attribute(above: BorrowedFd<'_>, name: &OsStr) -> Option<char> {
    let found = statx(above, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty()).ok()?.stx_attributes;
    if found.contains(StatxAttributes::IMMUTABLE) {
        Some('i')
    } else {
        found.contains(StatxAttributes::APPEND).then_some('a')
    }
}
