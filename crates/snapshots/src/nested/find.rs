//! Finds the subvolumes inside a subvolume.
//!
//! btrfs(8) lists them at once, but as text. A container chooses their names, which may contain line breaks, so the
//! list can be misleading. The list is accepted if each line is a different subvolume that exists at its path.
//! Otherwise all directories are read one by one.

use std::{
    collections::{BTreeSet, VecDeque},
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use lap_base::{
    beneath::{Walk, dir::Dir},
    error::Result,
};
use rustix::fs::FileType;

use super::list::Missing;
use crate::{
    btrfs,
    subvolume::{device, is_subvolume, path_of, root, shown, walk_to},
};

/// All subvolumes inside a subvolume, also nested ones.
#[derive(Debug, Default)]
pub struct All {
    /// The paths below the subvolume. Parents come before children.
    pub paths: Vec<PathBuf>,
    /// The subvolumes that cannot be reached.
    pub missing: Vec<Missing>,
}

/// Finds at most `most` subvolumes.
///
/// # Errors
/// btrfs cannot list the subvolumes.
pub fn all(subvolume: &Path, most: usize) -> Result<All> {
    let (mut all, open) = (All::default(), root(subvolume)?);
    let mut left = VecDeque::from([PathBuf::new()]);
    while let Some(around) = left.pop_front() {
        // It may have been removed in the meantime.
        let Ok(here) = walk_to(&open, &around) else { continue };
        let inside = match direct(&here) {
            Ok(inside) => inside,
            Err(error) if !around.as_os_str().is_empty() => {
                all.missing.push(Missing { path: shown(&around), why: error.message });
                continue;
            }
            Err(error) => return Err(error),
        };
        all.missing.extend(inside.missing.into_iter().map(|Missing { path, why }| Missing {
            path: Path::new(&shown(&around)).join(path).to_string_lossy().into_owned(),
            why,
        }));
        for path in inside.paths {
            let path = around.join(path);
            if all.paths.len() == most {
                let why = format!("its directory has more than {most} subvolumes");
                all.missing.push(Missing { path: shown(&path), why });
                return Ok(all);
            }
            left.push_back(path.clone());
            all.paths.push(path);
        }
    }
    all.paths.sort();
    Ok(all)
}

/// Returns the subvolumes directly inside `here`.
fn direct(here: &Dir) -> Result<All> {
    let lines = btrfs::list(&path_of(here))?;
    if lines.is_empty() {
        return Ok(All::default());
    }
    match checked(here, &lines) {
        Some(paths) => Ok(All { paths, missing: Vec::new() }),
        None => read(here),
    }
}

/// Returns the paths of the list, or `None` if a line is not a subvolume at its path.
fn checked(here: &Dir, lines: &[Vec<u8>]) -> Option<Vec<PathBuf>> {
    let device = device(here).ok()?;
    // The list contains complete paths from the top of the file system. The path of the open directory shows which part
    // of them leads to `here`.
    let whole = std::fs::read_link(path_of(here)).ok()?;
    let mut found = BTreeSet::new();
    for line in lines {
        let path = Path::new(OsStr::from_bytes(line));
        let below = below(&whole, path)?;
        let sub = walk_to(here, below).ok()?;
        let around = walk_to(here, below.parent()?).ok()?;
        let is_direct = is_subvolume(&sub) && self::device(&around).ok()? == device;
        if !is_direct || !found.insert(below.to_owned()) {
            return None;
        }
    }
    Some(found.into_iter().collect())
}

/// Removes from `path` its longest start that is an end of `whole`: `/var/lib/lap/pool/data` and `data/git/x` give
/// `git/x`.
fn below<'a>(whole: &Path, path: &'a Path) -> Option<&'a Path> {
    let mut end = PathBuf::new();
    let ends = whole.ancestors().map(|above| whole.strip_prefix(above).unwrap_or(whole).to_owned());
    for candidate in ends {
        if !candidate.as_os_str().is_empty() && path.starts_with(&candidate) {
            end = candidate;
        }
    }
    path.strip_prefix(&end).ok().filter(|rest| !rest.as_os_str().is_empty() && !end.as_os_str().is_empty())
}

/// Finds the subvolumes by reading every directory.
fn read(here: &Dir) -> Result<All> {
    let (mut all, device) = (All::default(), device(here)?);
    let mut left = vec![PathBuf::new()];
    while let Some(path) = left.pop() {
        let Ok(open) = walk_to(here, &path) else {
            // The directory was removed, or its path is longer than the kernel accepts.
            if path.as_os_str().len() > 4000 {
                all.missing.push(Missing { path: shown(&path), why: "its path is too long".into() });
            }
            continue;
        };
        let Ok(entries) = open.list(&Walk::whole()) else { continue };
        for entry in entries.into_iter().filter(|entry| entry.kind() == FileType::Directory) {
            let path = path.join(&entry.name);
            if entry.stat.st_dev == device {
                left.push(path);
            } else if walk_to(here, &path).is_ok_and(|open| is_subvolume(&open)) {
                all.paths.push(path);
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_path_is_converted_to_one_below_the_subvolume() {
        let of = |whole: &str, path: &'static str| below(Path::new(whole), Path::new(path)).map(Path::to_owned);
        assert_eq!(of("/var/lib/lap/pool/data", "data/git/x"), Some("git/x".into()));
        assert_eq!(of("/pool/snapshots/1/data", "snapshots/1/data/a"), Some("a".into()));
        assert_eq!(of("/var/lib/lap/pool/data", "state"), None);
        assert_eq!(of("/var/lib/lap/pool/data", "data"), None);
    }
}
