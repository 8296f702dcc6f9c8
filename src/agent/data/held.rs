//! A container that stays frozen until it has room: its processes get SIGSTOP, and its control group allows no new process.
//!
//! Not the kernel's freezer: see `freeze`. SIGSTOP alone would not do: what Docker starts in the container, such as a health check, could send
//! SIGCONT, and so `guard` ends it. Docker never sets a limit of no process, so the control group itself says that lap froze the container, also to
//! an agent that was started again.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use lap_base::{
    cgroups::{CGROUPS, Cgroups, cgroups},
    error::{Error, Kind, OrError, Result},
};
use rustix::process::Signal;

use super::{
    guard::{self, is_closed},
    processes::{is_bound_to_stop, of, processes, signal, start, until_still},
};

/// How long the first try to stop all processes may take: there may be thousands.
const TRY: Duration = Duration::from_secs(2);

/// Freezes the container with this id.
///
/// # Errors
/// Its control group cannot be found or written, or a process does not stop.
pub fn hold(id: &str) -> Result<()> {
    let Some(group) = group_of(id) else {
        return Err(Error::new(Kind::Node, format!("cannot find the control group of the container {}", short(id))));
    };
    write(&group, "0")?;
    // First: also if a process does not stop, nothing new may start.
    guard::begin(&group);
    stop(id)
}

/// Whether lap allows no new process in the container with this id.
pub fn is_held(id: &str) -> bool {
    group_of(id).is_some_and(|group| is_closed(&group))
}

/// The container stays frozen, also when the agent was started again in between.
///
/// # Errors
/// A process does not stop.
pub fn still(id: &str) -> Result<()> {
    let Some(group) = group_of(id).filter(|group| is_closed(group)) else { return Ok(()) };
    guard::begin(&group);
    stop(id)
}

fn stop(id: &str) -> Result<()> {
    let ids = BTreeSet::from([id.to_owned()]);
    let mine = |groups: &str| of(&ids, groups);
    let none = BTreeSet::new();
    let all = || processes(&mine);
    if all().into_iter().all(is_bound_to_stop) {
        return Ok(());
    }
    until_still(&all, &is_bound_to_stop, &|pid| signal(pid, Signal::STOP, &mine), &|| start(&mine, &none), TRY)
}

/// Lets the container go on, with the limit of processes that Docker gave it (`None`: no limit).
///
/// # Errors
/// Its control group cannot be written.
pub fn release(id: &str, pids: Option<i64>) -> Result<()> {
    // Without a process there is nothing to continue.
    let Some(group) = group_of(id) else { return Ok(()) };
    guard::end(&group);
    write(&group, &pids.filter(|pids| *pids > 0).map_or_else(|| "max".to_owned(), |pids| pids.to_string()))?;
    let ids = BTreeSet::from([id.to_owned()]);
    start(&|groups| of(&ids, groups), &BTreeSet::new());
    Ok(())
}

/// Those of these containers that lap froze.
pub fn among(ids: &BTreeSet<String>) -> BTreeSet<String> {
    let groups_of = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cgroup")).ok();
    let mut left = ids.clone();
    let mut held = BTreeSet::new();
    for groups in processes(&|groups| of(ids, groups)).into_iter().filter_map(groups_of) {
        let Some(id) = left.iter().find(|id| groups.contains(*id)).cloned() else { continue };
        if directory(&groups, &id, cgroups()).is_some_and(|group| is_closed(&group)) {
            held.insert(id.clone());
        }
        left.remove(&id);
    }
    held
}

/// Whether lap froze the container of a process with these control groups.
pub fn is_group_held(groups: &str) -> bool {
    let id = groups.split(|c: char| !c.is_ascii_hexdigit()).rfind(|part| part.len() == 64);
    id.and_then(|id| directory(groups, id, cgroups())).is_some_and(|group| is_closed(&group))
}

fn write(group: &Path, limit: &str) -> Result<()> {
    let path = group.join("pids.max");
    fs::write(&path, limit).or_error(Kind::Node, || format!("cannot write `{}`", path.display()))
}

/// The directory of the container's control group that limits its processes.
fn group_of(id: &str) -> Option<PathBuf> {
    let ids = BTreeSet::from([id.to_owned()]);
    let pids = processes(&|groups| of(&ids, groups));
    let groups = pids.into_iter().filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/cgroup")).ok());
    groups.into_iter().find_map(|groups| directory(&groups, id, cgroups()))
}

/// [`group_of`], from `/proc/<pid>/cgroup` of one of its processes. A group that a container made in its own is not the container's.
fn directory(groups: &str, id: &str, version: Cgroups) -> Option<PathBuf> {
    let path = groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let is_it = match version {
            Cgroups::V1 => controllers.split(',').any(|controller| controller == "pids"),
            Cgroups::V2 => controllers.is_empty(),
        };
        is_it.then_some(path)
    })?;
    let end = path.find(id)? + id.len();
    let end = path[end..].find('/').map_or(path.len(), |more| end + more);
    let root = match version {
        Cgroups::V1 => Path::new(CGROUPS).join("pids"),
        Cgroups::V2 => PathBuf::from(CGROUPS),
    };
    Some(root.join(path[..end].trim_start_matches('/')))
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_the_containers_own_also_where_it_made_groups_itself() {
        let (node, id) = ("a".repeat(64), "b".repeat(64));
        let v1 = format!("4:memory:/docker/{node}/lap/{id}\n9:pids:/docker/{node}/lap/{id}/inner\n1:name=systemd:/x\n");
        let of = |groups: &str, version| directory(groups, &id, version).map(|path| path.display().to_string());
        assert_eq!(of(&v1, Cgroups::V1), Some(format!("/sys/fs/cgroup/pids/docker/{node}/lap/{id}")));
        let v2 = format!("0::/system.slice/docker-{id}.scope/init\n");
        assert_eq!(of(&v2, Cgroups::V2), Some(format!("/sys/fs/cgroup/system.slice/docker-{id}.scope")));
        assert_eq!(of("0::/init\n", Cgroups::V2), None);
        assert!(!is_group_held(&v1));
    }
}
