//! The root of a node: this machine's programs, and places of the node's own. The agent's code runs in a thread that sees nothing else.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    thread,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    unistd::{chdir, chroot},
};

/// Directories that a node has for itself.
const OWN: [&str; 7] = ["var/run", "var/lib/lap/pool", "var/lib/lap/env/e", "data", "run/lap", "tmp", "var/tmp"];

/// Makes the root `root`, without the pool.
pub fn make(root: &Path) {
    for own in OWN {
        fs::create_dir_all(root.join(own)).unwrap();
    }
    for entry in fs::read_dir("/").unwrap().flatten() {
        let (name, kind) = (entry.file_name(), entry.file_type().unwrap());
        let place = root.join(&name);
        if kind.is_symlink() {
            symlink(fs::read_link(entry.path()).unwrap(), place).unwrap();
        } else if ["usr", "bin", "sbin", "lib", "lib64", "etc", "proc", "sys", "dev"].iter().any(|known| name == *known)
        {
            fs::create_dir(&place).unwrap();
            let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(&entry.path()), &place, None::<&str>, flags, None::<&str>).unwrap();
        }
    }
}

/// Does `work` as on the node, and unmounts `/data` afterwards.
pub fn run<T: Send>(root: &Path, work: impl FnOnce() -> T + Send) -> T {
    let done = thread::scope(|scope| {
        let worker = scope.spawn(|| {
            unshare(CloneFlags::CLONE_FS).unwrap();
            chroot(root).unwrap();
            chdir("/").unwrap();
            work()
        });
        worker.join()
    });
    let _ = umount2(&data(root), MntFlags::MNT_DETACH);
    match done {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn data(root: &Path) -> PathBuf {
    root.join("data")
}
