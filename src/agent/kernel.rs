//! What a container that stands in for a machine must set up itself before a Docker Engine can run in it: control
//! groups and loop device nodes. Nothing here does anything on a real machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::{
    mount::{MsFlags, mount},
    sys::stat::{Mode, SFlag, makedev, mknod},
};

use crate::error::{Kind, OrError, Result};

const CGROUPS: &str = "/sys/fs/cgroup";

/// Which control groups the machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cgroups {
    /// One directory a controller (v1, or hybrid).
    V1,
    /// One tree.
    V2,
}

/// Looks at `/sys/fs/cgroup`.
pub fn cgroups() -> Cgroups {
    if Path::new(CGROUPS).join("cgroup.controllers").exists() { Cgroups::V2 } else { Cgroups::V1 }
}

/// Makes control groups usable for an inner Docker Engine, and returns the `--cgroup-parent` it needs.
///
/// v2: the tree is private (`--cgroupns private`) but mounted read-only, and a group with processes cannot give
/// controllers to its children, so all processes move into a group `init` (cgroups(7), "no internal processes").
/// v1: the tree is the host's; inner groups are made below the node's own, so that its limits hold for them too.
///
/// # Errors
/// A mount or a write the kernel refuses; the message names it.
pub fn prepare_cgroups() -> Result<Option<String>> {
    match cgroups() {
        Cgroups::V2 => {
            let root = Path::new(CGROUPS);
            mount(None::<&str>, root, None::<&str>, MsFlags::MS_REMOUNT | MsFlags::MS_BIND, None::<&str>)
                .or_error(Kind::Node, || format!("cannot remount `{CGROUPS}` for writing"))?;
            let init = root.join("init");
            fs::create_dir_all(&init).or_error(Kind::Node, || format!("cannot make `{}`", init.display()))?;
            let procs = fs::read_to_string(root.join("cgroup.procs")).unwrap_or_default();
            for pid in procs.lines() {
                // A process may be gone by now.
                let _ = fs::write(init.join("cgroup.procs"), pid);
            }
            let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
            let wish = controllers.split_whitespace().map(|c| format!("+{c}")).collect::<Vec<_>>().join(" ");
            fs::write(root.join("cgroup.subtree_control"), wish)
                .or_error(Kind::Node, || "cannot give control groups to containers".into())?;
            Ok(None)
        }
        Cgroups::V1 => Ok(own_group_v1().map(|own| format!("{}/lap", own.trim_end_matches('/')))),
    }
}

/// Removes what inner containers of an earlier life of this node left in the host's tree (v1 only).
pub fn sweep_cgroups() {
    let Some(own) = own_group_v1().filter(|_| cgroups() == Cgroups::V1) else { return };
    for controller in fs::read_dir(CGROUPS).into_iter().flatten().flatten() {
        remove_groups(&controller.path().join(own.trim_start_matches('/')).join("lap"));
    }
}

fn own_group_v1() -> Option<String> {
    let text = fs::read_to_string("/proc/1/cgroup").ok()?;
    let line = text.lines().find(|line| line.split(':').nth(1).is_some_and(|c| c.contains("memory")))?;
    line.splitn(3, ':').nth(2).map(str::to_owned)
}

/// Depth first: a group with children cannot be removed. One with processes stays, which is right.
fn remove_groups(dir: &Path) {
    for child in fs::read_dir(dir).into_iter().flatten().flatten() {
        if child.path().is_dir() {
            remove_groups(&child.path());
        }
    }
    let _ = fs::remove_dir(dir);
}

/// Makes the device nodes that `mount -o loop` needs; `/dev` of a container has none.
///
/// # Errors
/// The kernel refuses: the container has no right to loop devices.
pub fn make_loop_nodes(count: u64) -> Result<()> {
    node("/dev/loop-control".into(), SFlag::S_IFCHR, makedev(10, 237))?;
    for number in 0..count {
        node(format!("/dev/loop{number}").into(), SFlag::S_IFBLK, makedev(7, number))?;
    }
    if !Path::new("/dev/net/tun").exists() {
        let _ = fs::create_dir_all("/dev/net");
        let _ = mknod("/dev/net/tun", SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(10, 200));
    }
    Ok(())
}

fn node(path: PathBuf, kind: SFlag, device: u64) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    mknod(&path, kind, Mode::from_bits_truncate(0o660), device)
        .or_error(Kind::Node, || format!("cannot make the device `{}`", path.display()))
}
