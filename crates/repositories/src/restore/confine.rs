//! A process gives away all of the file system but the directory it is in. What it opened before stays open.

use std::{fs, path::PathBuf};

use lap_base::error::{Error, Kind, OrError, Result};
use nix::{
    sched::{CloneFlags, unshare},
    unistd::{Gid, Uid, chdir, chroot, getegid, geteuid},
};

/// Makes the working directory the root directory, and gives its path then. Without root's rights that takes a user namespace of
/// its own; where the kernel gives none, the directory stays what it is, unless it `must` be.
///
/// # Errors
/// It must be, and cannot.
pub fn confine(must: bool) -> Result<PathBuf> {
    let what = || "cannot confine the restore to its directory".to_owned();
    let here = std::env::current_dir().or_error(Kind::Host, what)?;
    let confined = chroot(".").or_else(|_| own_namespace().and_then(|()| chroot(".")));
    match confined.and_then(|()| chdir("/")) {
        Ok(()) => Ok(PathBuf::from("/")),
        Err(error) if must => Err(Error::new(Kind::Host, format!("{}: {error}", what()))),
        Err(_) => Ok(here),
    }
}

/// Root's rights over nothing but this process; files are made as before.
fn own_namespace() -> nix::Result<()> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER)?;
    // A map of groups is taken only when no group can be given up.
    let maps = [("setgroups", "deny".to_owned()), ("uid_map", user_map(user)), ("gid_map", group_map(group))];
    for (file, text) in maps {
        fs::write(format!("/proc/self/{file}"), text).map_err(|_| nix::errno::Errno::EPERM)?;
    }
    Ok(())
}

fn user_map(user: Uid) -> String {
    format!("{user} {user} 1")
}

fn group_map(group: Gid) -> String {
    format!("{group} {group} 1")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// In a thread with a root directory of its own, the rest of the process keeps its.
    #[test]
    fn nothing_is_written_outside() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("inside");
        fs::create_dir(&inside).unwrap();
        std::os::unix::fs::symlink(dir.path(), inside.join("out")).unwrap();
        let outside = dir.path().join("outside");
        let (target, absolute) = (inside.clone(), outside.clone());
        std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_FS).unwrap();
            chdir(&target).unwrap();
            assert_eq!(confine(true).unwrap(), Path::new("/"));
            assert!(fs::write(&absolute, "x").is_err() && fs::read("/etc/passwd").is_err());
            assert!(fs::write("/out/outside", "x").is_err());
            fs::write("/../../../../outside", "x").unwrap();
        })
        .join()
        .unwrap();
        assert!(!outside.exists());
        assert_eq!(fs::read_to_string(inside.join("outside")).unwrap(), "x");
        assert!(Path::new("/etc/passwd").exists());
    }
}
