//! Ends at once what Docker starts in a container that is held, such as a health check. The limit of processes does not prevent that: a process enters
//! the control group after it was made.
//!
//! The list of processes is read often. A program starts some milliseconds after its process has entered the group, so it is ended before it can do
//! anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Between two looks.
const BETWEEN: Duration = Duration::from_millis(5);

/// The control groups, each with the processes that it had when it was held.
static GROUPS: Mutex<BTreeMap<PathBuf, BTreeSet<i32>>> = Mutex::new(BTreeMap::new());

fn groups() -> MutexGuard<'static, BTreeMap<PathBuf, BTreeSet<i32>>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends what enters this control group from now on. The control group allows no new process by now.
pub fn begin(group: &Path) {
    let mut groups = groups();
    let is_first = groups.is_empty();
    groups.entry(group.to_owned()).or_insert_with(|| processes(group).unwrap_or_default());
    if is_first {
        thread::spawn(guard);
    }
}

/// The container goes on.
pub fn end(group: &Path) {
    groups().remove(group);
}

/// Whether lap allows no new process in this control group. Docker sets another limit when it starts the container again.
pub fn is_closed(group: &Path) -> bool {
    fs::read_to_string(group.join("pids.max")).is_ok_and(|limit| limit.trim() == "0")
}

/// Until there is none.
fn guard() {
    loop {
        let mut groups = groups();
        groups.retain(|group, known| is_kept(group, known));
        if groups.is_empty() {
            return;
        }
        drop(groups);
        thread::sleep(BETWEEN);
    }
}

/// `false`: the group is gone, or it is another container's by now.
fn is_kept(group: &Path, known: &BTreeSet<i32>) -> bool {
    let Some(all) = processes(group) else { return false };
    for pid in all.difference(known) {
        let open = Pid::from_raw(*pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        // The number may be another process' by now, and the group another container's.
        let is_here = || processes(group).is_some_and(|all| all.contains(pid));
        if let Some(open) = open.filter(|_| is_here()) {
            if !is_closed(group) {
                return false;
            }
            let _ = pidfd_send_signal(open, Signal::KILL);
        }
    }
    true
}

fn processes(group: &Path) -> Option<BTreeSet<i32>> {
    let text = fs::read_to_string(group.join("cgroup.procs")).ok()?;
    Some(text.lines().filter_map(|line| line.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::ExitStatusExt,
        process::{Child, Command},
    };

    use super::*;

    fn sleeps() -> Child {
        Command::new("sleep").arg("600").spawn().unwrap()
    }

    fn list(group: &Path, all: &[&Child]) {
        let text: String = all.iter().map(|child| format!("{}\n", child.id())).collect();
        fs::write(group.join("cgroup.procs"), text).unwrap();
    }

    #[test]
    fn what_enters_a_group_that_is_held_is_ended_and_nothing_else() {
        let group = tempfile::tempdir().unwrap();
        let (mut old, mut new, mut again) = (sleeps(), sleeps(), sleeps());
        fs::write(group.path().join("pids.max"), "0\n").unwrap();
        list(group.path(), &[&old]);
        begin(group.path());
        list(group.path(), &[&old, &new]);
        assert_eq!(new.wait().unwrap().signal(), Some(9));
        assert!(old.try_wait().unwrap().is_none(), "it was there before");
        // Docker started the container again: its group has another limit.
        fs::write(group.path().join("pids.max"), "4096\n").unwrap();
        list(group.path(), &[&again]);
        while groups().contains_key(group.path()) {
            thread::sleep(BETWEEN);
        }
        assert!(again.try_wait().unwrap().is_none(), "it is another container's");
        for child in [&mut old, &mut again] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
