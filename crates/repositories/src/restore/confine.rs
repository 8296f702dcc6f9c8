//! Confines a process to its working directory. Files that it opened before remain open.

use std::{fs, path::PathBuf};

use lap_base::error::{Error, Kind, OrError, Result};
use nix::{
    sched::{CloneFlags, unshare},
    unistd::{Gid, Uid, chdir, chroot, getegid, geteuid},
};

/// Makes the working directory the root directory. Returns the path of the target after it. Without root's rights this
/// needs a user namespace. If the kernel does not permit one, the process is not confined, unless `must` is set.
///
/// # Errors
/// `must` is set, and the process cannot be confined.
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

/// Enters a user namespace, in which this process has root's rights. New files keep their owner.
fn own_namespace() -> nix::Result<()> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER)?;
    // The kernel accepts a group map only if setgroups(2) is denied.
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

    /// A thread can have its own root directory (`CLONE_FS`), and the rest of the process keeps its own.
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
