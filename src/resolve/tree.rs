//! Paths as seen from a machine's root directory, which need not be this process's.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs,
    path::{Component, Path, PathBuf},
};

use lap_base::{Error, Kind, Result};

/// As many symbolic links as Linux follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Where a path of the machine is in this process's view.
pub fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// The path with every symbolic link on its way followed, below `root`; what is not there stays as it is written.
///
/// # Errors
/// [`Kind::Host`]: the links go round in a circle.
pub fn follow(root: &Path, path: &Path) -> Result<PathBuf> {
    let (mut done, mut links) = (PathBuf::from("/"), 0);
    let mut left: VecDeque<OsString> = parts(path);
    while let Some(part) = left.pop_front() {
        if part == ".." {
            done.pop();
            continue;
        }
        let here = done.join(&part);
        let Ok(target) = fs::read_link(inside(root, &here)) else {
            done = here;
            continue;
        };
        links += 1;
        if links > MOST_LINKS {
            return Err(Error::new(Kind::Host, format!("`{}` is a link to itself", path.display())));
        }
        if target.is_absolute() {
            done = PathBuf::from("/");
        }
        for part in parts(&target).into_iter().rev() {
            left.push_front(part);
        }
    }
    Ok(done)
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let named = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    named.collect()
}
