//! What a container that stands in for a machine must set up itself before a Docker Engine can run in it: control
//! groups and loop device nodes. Nothing here does anything on a real machine.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use lap_base::cgroups::{CGROUPS, Cgroups, cgroups};
use lap_base::error::{Kind, OrError, Result};
use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sys::stat::{Mode, SFlag, makedev, mknod},
};

/// As often as this, processes that started meanwhile are moved too.
const ROUNDS: u32 = 100;
/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(20);

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
        // The root of all groups, which only a real machine sees, has no such file: nothing is in the way there.
        Cgroups::V2 if !Path::new(CGROUPS).join("cgroup.events").exists() => Ok(None),
        Cgroups::V2 => {
            let root = Path::new(CGROUPS);
            // As Docker mounted it, but for writing.
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RELATIME;
            mount(None::<&str>, root, None::<&str>, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags, None::<&str>)
                .or_error(Kind::Node, || format!("cannot remount `{CGROUPS}` for writing"))?;
            delegate(root)?;
            Ok(None)
        }
        Cgroups::V1 => Ok(own_group_v1().map(|own| format!("{}/lap", own.trim_end_matches('/')))),
    }
}

/// Moves all processes of the group `root` into its child `init`, and gives the controllers to its children. A process
/// that starts meanwhile (sshd, a `docker exec`) may be in `root` again, and the kernel refuses: then once more.
fn delegate(root: &Path) -> Result<()> {
    let init = root.join("init");
    fs::create_dir_all(&init).or_error(Kind::Node, || format!("cannot make `{}`", init.display()))?;
    let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    let desired = controllers.split_whitespace().map(|c| format!("+{c}")).collect::<Vec<_>>().join(" ");
    for round in 1.. {
        for pid in fs::read_to_string(root.join("cgroup.procs")).unwrap_or_default().lines() {
            // A process may be gone by now.
            let _ = fs::write(init.join("cgroup.procs"), pid);
        }
        match fs::write(root.join("cgroup.subtree_control"), &desired) {
            Err(error) if round < ROUNDS && error.raw_os_error() == Some(Errno::EBUSY as i32) => {
                thread::sleep(PAUSE);
            }
            result => {
                return result
                    .or_error(Kind::Node, || "cannot enable controllers for the control groups of containers".into());
            }
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_move_and_every_controller_is_given() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        fs::write(root.path().join("cgroup.procs"), "1\n").unwrap();
        delegate(root.path()).unwrap();
        assert_eq!(fs::read_to_string(root.path().join("init/cgroup.procs")).unwrap(), "1");
        assert_eq!(fs::read_to_string(root.path().join("cgroup.subtree_control")).unwrap(), "+cpu +memory +pids");
        // Again, as after the agent's own restart: nothing is left to move.
        fs::write(root.path().join("cgroup.procs"), "").unwrap();
        delegate(root.path()).unwrap();
    }

    #[test]
    fn a_refusal_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("cgroup.subtree_control")).unwrap();
        let error = delegate(root.path()).unwrap_err();
        assert!(
            error.to_string().contains("cannot enable controllers for the control groups of containers"),
            "{error}"
        );
    }
}
