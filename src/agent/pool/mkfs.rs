//! Which file system a new pool is, and making one.

use std::{fs, path::Path, process::Command};

use lap_base::error::{Error, Kind, Result};
use lap_snapshots::Filesystem;

use crate::{agent::system::command::run, wire::paths};

/// The pool's label, so that it is known whatever the disk is called.
pub const LABEL: &str = "lap";

/// Makes `place`, a disk or a file, a new pool; says what it costs where that is not what everybody expects.
///
/// # Errors
/// The node has no program for it, or it fails.
pub fn make(desired: Option<Filesystem>, place: &str) -> Result<Filesystem> {
    let filesystem = choose(desired, |filesystem| is_known(filesystem) && is_there(filesystem.mkfs().0))?;
    if let (None, Some(cost)) = (desired, filesystem.cost()) {
        eprintln!("agent: the kernel has no btrfs, so the pool is {filesystem}: {cost}");
    }
    let (program, words) = filesystem.mkfs();
    run(Command::new(program).args(words).args(["-L", LABEL, place]))?;
    Ok(filesystem)
}

fn choose(desired: Option<Filesystem>, can: impl Fn(Filesystem) -> bool) -> Result<Filesystem> {
    match desired {
        Some(desired) if can(desired) => Ok(desired),
        Some(desired) => Err(Error::new(
            Kind::Node,
            format!("the node cannot make {desired}: its kernel or `{}` is missing", desired.mkfs().0),
        )
        .hint(format!(
            "add `{}` to nodes/rootfs.toml (on an existing machine, install it with `apt-get`)",
            desired.package()
        ))),
        None => Filesystem::ALL.into_iter().find(|filesystem| can(*filesystem)).ok_or_else(|| {
            Error::new(Kind::Node, "the node's kernel has neither btrfs, xfs nor ext4, and the pool needs one of them")
                .hint("`mkfs.ext4` is in `e2fsprogs`: add it to nodes/rootfs.toml")
        }),
    }
}

/// Mounts the pool that is at `place`.
///
/// # Errors
/// What mount says.
pub fn mount(filesystem: Filesystem, place: &str, is_file: bool) -> Result<()> {
    let options = match (filesystem, is_file) {
        (Filesystem::Btrfs, true) => "loop,subvolid=5,noatime",
        (Filesystem::Btrfs, false) => "subvolid=5,noatime",
        (_, true) => "loop,noatime",
        (_, false) => "noatime",
    };
    run(Command::new("mount").args(["-t", filesystem.name(), "-o", options, place, paths::POOL]))
}

/// Makes the pool, mounted from `device`, as large as that is by now.
///
/// # Errors
/// What the file system's own program says.
pub fn grow(filesystem: Filesystem, device: &str) -> Result<()> {
    match filesystem {
        Filesystem::Btrfs => run(Command::new("btrfs").args(["filesystem", "resize", "max", paths::POOL])),
        Filesystem::Xfs => run(Command::new("xfs_growfs").arg(paths::POOL)),
        Filesystem::Ext4 => run(Command::new("resize2fs").arg(device)),
    }
}

/// What is at `place`, which is a pool of ours.
pub fn found(place: &str) -> Option<Filesystem> {
    let output = Command::new("blkid").args(["-p", "-o", "value", "-s", "TYPE", place]).output().ok()?;
    Filesystem::named(String::from_utf8_lossy(&output.stdout).trim())
}

/// By the kernel, also where it has yet to load it.
fn is_known(filesystem: Filesystem) -> bool {
    let known = || {
        let text = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        text.lines().any(|line| line.split_whitespace().last() == Some(filesystem.name()))
    };
    known() || (run(Command::new("modprobe").arg(filesystem.name())).is_ok() && known())
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir| Path::new(&dir).join(program).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_that_is_there_is_chosen_and_a_wish_is_not_overruled() {
        use Filesystem::{Btrfs, Ext4, Xfs};
        let of = |desired, can: &[Filesystem]| choose(desired, |one| can.contains(&one)).map_err(|error| error.message);
        assert_eq!(of(None, &[Ext4, Xfs, Btrfs]), Ok(Btrfs));
        assert_eq!(of(None, &[Ext4, Xfs]), Ok(Xfs));
        assert_eq!(of(None, &[Ext4]), Ok(Ext4));
        assert_eq!(of(Some(Ext4), &[Ext4, Btrfs]), Ok(Ext4));
        let refused = of(Some(Xfs), &[Ext4, Btrfs]).unwrap_err();
        assert_eq!(refused, "the node cannot make xfs: its kernel or `mkfs.xfs` is missing");
        assert!(of(None, &[]).is_err());
    }
}
