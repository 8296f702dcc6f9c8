//! Processes of containers: found by their control group, stopped with SIGSTOP and continued with SIGCONT.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use lap_base::error::{Error, Kind, Result};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How long it may take until the last one is_stopped: who waits for the disk comes to it afterwards only.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const BETWEEN: Duration = Duration::from_micros(300);

/// Whether `/proc/<pid>/cgroup` is that of one of these containers, or of one inside it.
pub fn of(ids: &BTreeSet<String>, groups: &str) -> bool {
    groups.split(|c: char| !c.is_ascii_hexdigit()).any(|part| part.len() == 64 && ids.contains(part))
}

/// Whether `/proc/<pid>/cgroup` is that of any container.
pub fn is_container(groups: &str) -> bool {
    groups.split(|c: char| !c.is_ascii_hexdigit()).any(|part| part.len() == 64)
}

/// Those whose control groups are `mine`.
pub fn processes(mine: &dyn Fn(&str) -> bool) -> Vec<i32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<i32>().ok();
    all.filter_map(number).filter(|pid| is(*pid, mine)).collect()
}

fn is(pid: i32, mine: &dyn Fn(&str) -> bool) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|groups| mine(&groups))
}

/// Every thread of it is stopped, or has ended.
pub fn is_stopped(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.into_iter().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The state is_stopped behind the name, which may have any character in it.
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 't', 'Z', 'X']))
    })
}

/// Whether a process runs no more of its program: it [`is_stopped`], or it waits in the kernel and stops before it leaves the kernel. A parent
/// waits so for a child of vfork(2), which may never end.
pub fn is_bound_to_stop(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let threads: Vec<(char, String)> = threads
        .filter_map(|thread| {
            let stat = fs::read_to_string(thread.path().join("stat")).ok()?;
            let state = stat.rsplit_once(") ")?.1.chars().next()?;
            Some((state, fs::read_to_string(thread.path().join("status")).unwrap_or_default()))
        })
        .collect();
    // SIGSTOP is not pending any more once one thread took it. It then applies to all threads.
    let is_taken = threads.iter().any(|(state, _)| *state == 'T');
    threads.iter().all(|(state, status)| match state {
        'T' | 't' | 'Z' | 'X' => true,
        'D' => is_taken || is_stop_pending(status),
        _ => false,
    })
}

/// Whether `/proc/<pid>/status` lists SIGSTOP as pending for the thread or for its process.
fn is_stop_pending(status: &str) -> bool {
    let pending =
        status.lines().filter_map(|line| line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:")));
    let stop = 1_u64 << (Signal::STOP.as_raw() - 1);
    pending.filter_map(|set| u64::from_str_radix(set.trim(), 16).ok()).any(|set| set & stop != 0)
}

/// Stops whatever `all` finds, until it finds nothing that moves twice in a row: what one of them started just before it stood may not be in
/// the first look, and is in the second, in which nobody is left who starts anything.
///
/// Whoever waits for a child to begin (vfork(2), which is what posix_spawn(3) does) waits for good if that was stopped before: all of them go on
/// for a moment then, as `go_on` does it, and are met elsewhere at the next try. `first`: how long the first try may take; the next one takes twice
/// as long. `stands`: whether a process counts as stopped.
pub fn until_still(
    all: &dyn Fn() -> Vec<i32>,
    stands: &dyn Fn(i32) -> bool,
    stop: &dyn Fn(i32),
    go_on: &dyn Fn(),
    first: Duration,
) -> Result<()> {
    let (begun, mut tried, mut patience) = (Instant::now(), Instant::now(), first);
    let mut stood = false;
    loop {
        let moving: Vec<i32> = all().into_iter().filter(|pid| !stands(*pid)).collect();
        let Some(one) = moving.first() else {
            if stood {
                return Ok(());
            }
            stood = true;
            continue;
        };
        stood = false;
        if begun.elapsed() > PATIENCE {
            let name = fs::read_to_string(format!("/proc/{one}/comm")).unwrap_or_default();
            let message = format!("cannot freeze `{}` (process {one})", name.trim());
            return Err(
                Error::new(Kind::Node, message).hint("it waits in the kernel, perhaps for a disk that does not answer")
            );
        }
        if tried.elapsed() > patience {
            go_on();
            std::thread::sleep(BETWEEN);
            (tried, patience) = (Instant::now(), patience * 2);
        }
        moving.into_iter().for_each(stop);
        std::thread::sleep(BETWEEN);
    }
}

/// The youngest first: who watches its children sees none that is stopped.
pub fn start(mine: &dyn Fn(&str) -> bool, but: &BTreeSet<i32>) {
    let mut all: Vec<(u64, i32)> = processes(mine).into_iter().map(|pid| (began(pid), pid)).collect();
    all.sort_unstable_by(|a, b| b.cmp(a));
    for (_, pid) in all.into_iter().filter(|(_, pid)| !but.contains(pid)) {
        signal(pid, Signal::CONT, mine);
    }
}

/// Field 22 of proc(5)'s stat.
fn began(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
    rest.split(' ').nth(19).and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// To that very process: the number may be another one's by now, which is not told anything.
pub fn signal(pid: i32, signal: Signal, mine: &dyn Fn(&str) -> bool) {
    let Some(open) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { return };
    if is(pid, mine) {
        let _ = pidfd_send_signal(open, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_known_by_its_group_and_so_is_what_is_inside_it() {
        let (node, inner, other) = ("a".repeat(64), "b".repeat(64), "c".repeat(64));
        let ids = BTreeSet::from([inner.clone()]);
        assert!(of(&ids, &format!("4:memory:/docker/{node}/lap/{inner}\n")));
        assert!(of(&ids, &format!("0::/system.slice/docker-{inner}.scope/init\n")));
        assert!(of(&ids, &format!("0::/docker/{inner}/docker/{other}\n")));
        assert!(!of(&ids, &format!("0::/docker/{node}/docker/{other}\n")));
        assert!(!of(&ids, "0::/init\n"));
    }

    /// A process group; nothing of it is left, however the test ends.
    struct Group(std::process::Child);

    impl Group {
        fn all(&self) -> Vec<i32> {
            let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<i32>().ok();
            let group = self.0.id().to_string();
            // Known by it here: making control groups is not a test's business.
            let ours = |pid: &i32| {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.split(' ').nth(2) == Some(&group))
            };
            fs::read_dir("/proc").unwrap().flatten().filter_map(number).filter(ours).collect()
        }
    }

    impl Drop for Group {
        fn drop(&mut self) {
            self.all().into_iter().for_each(|pid| tell(pid, Signal::KILL));
            let _ = self.0.wait();
        }
    }

    fn tell(pid: i32, signal: Signal) {
        if let Ok(open) = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()) {
            let _ = pidfd_send_signal(open, signal);
        }
    }

    #[test]
    fn a_pending_stop_is_found_in_the_status_of_a_process() {
        let status = |own: &str, shared: &str| format!("State:\tD (disk sleep)\nSigPnd:\t{own}\nShdPnd:\t{shared}\n");
        let (none, stop) = ("0000000000000000", "0000000000040000");
        assert!(is_stop_pending(&status(none, stop)) && is_stop_pending(&status(stop, none)));
        assert!(is_stop_pending(&status(none, "0000000000040002")));
        assert!(!is_stop_pending(&status(none, "0000000000080000")) && !is_stop_pending(""));
    }

    #[test]
    fn whoever_is_made_to_stand_still_does_and_goes_on() {
        use std::{
            os::unix::process::CommandExt,
            process::{Command, Stdio},
        };
        // Its children are others all the time, and none outlives the look that stops it.
        let script = "while :; do (sleep 0.001; true) & (true); wait; done";
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let group = Group(command.spawn().unwrap());
        for _ in 0..20 {
            let go_on = || group.all().into_iter().for_each(|pid| tell(pid, Signal::CONT));
            until_still(
                &|| group.all(),
                &is_stopped,
                &|pid| tell(pid, Signal::STOP),
                &go_on,
                Duration::from_millis(40),
            )
            .unwrap();
            let before = group.all();
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(group.all(), before, "somebody was started by one that is_stopped still");
            assert!(before.iter().all(|pid| is_stopped(*pid)));
            go_on();
            // Numbers begin anew at some time: the first process, which never ends, is not always the lowest.
            let child = before.iter().find(|pid| **pid != group.0.id().cast_signed());
            while child.is_some_and(|child| group.all().contains(child)) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}
