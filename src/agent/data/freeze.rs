//! Containers stand still while a file system that takes no snapshots itself is copied: each of their processes gets SIGSTOP, which none can
//! refuse or see, and SIGCONT when it is done. Not Docker's `pause`: who is frozen by control groups of version 1 cannot be
//! killed, and neither can the container that stands in for this node.
//!
//! Who is to stand still is written down before: an agent that finds this at its start lets all go on before it does anything else.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bollard::query_parameters::ListContainersOptionsBuilder;
use lap_base::{
    durable::write_file,
    error::{Error, Kind, OrError, Result},
    state::{self, State},
};
use lap_snapshots::Still;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::runtime::Handle;

use crate::{
    agent::{docker, system::failpoint},
    wire::paths,
};

/// Those that are to stand still, in `state`.
const RECORD: &str = "paused.json";

/// How long it may take until the last one stands: who waits for the disk comes to it afterwards only.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the first try to have all of them stand may take; the next one twice as long.
const TRY: Duration = Duration::from_millis(40);
/// Between two looks.
const BETWEEN: Duration = Duration::from_micros(300);

/// All containers of this node.
#[derive(Default)]
pub struct Containers {
    /// For how long they may stand still.
    pub most: Option<Duration>,
    /// Processes that stood still before anybody asked for it.
    before: BTreeSet<i32>,
}

impl Containers {
    pub fn at_most(most: Option<Duration>) -> Self {
        Self { most, ..Self::default() }
    }
}

impl Still for Containers {
    fn at(&mut self, step: &str) {
        failpoint::at(step);
    }

    fn pause(&mut self) -> Result<()> {
        let runtime = Handle::current();
        // Whoever takes a snapshot may be inside the runtime, or not: a thread of its own never is.
        let ids = std::thread::scope(|scope| {
            let asking = scope.spawn(|| runtime.block_on(running()));
            asking
                .join()
                .unwrap_or_else(|_| Err(Error::new(Kind::Other, "the thread that queries Docker ended with a panic")))
        })?;
        let text = serde_json::to_vec(&ids).or_error(Kind::Other, || "containers".into())?;
        write_file(&record(), &text, 0o600)?;
        self.before = processes(&|groups| of(&ids, groups)).into_iter().filter(|pid| is_stopped(*pid)).collect();
        let mine = |groups: &str| of(&ids, groups);
        until_still(&|| processes(&mine), &|pid| signal(pid, Signal::STOP, &mine), &|| start(&mine, &self.before))
    }

    fn resume(&mut self) -> Result<()> {
        go_on(&self.before)
    }

    fn patience(&self) -> Option<Duration> {
        self.most
    }
}

/// Whoever stands still goes on; at the agent's start, before anything else, those that one before it left.
///
/// # Errors
/// The record cannot be removed.
pub fn recover() -> Result<()> {
    go_on(&BTreeSet::new())
}

fn go_on(but: &BTreeSet<i32>) -> Result<()> {
    // Before the pool is mounted there is neither the directory nor the record.
    match state::json_in::<BTreeSet<String>>(Path::new(paths::STATE), RECORD) {
        State::Absent => return Ok(()),
        State::Value(ids) => start(&|groups| of(&ids, groups), but),
        // Which ones stand is not known: all containers go on, for those that do not stand that is nothing.
        State::Unreadable(why) => {
            eprintln!("agent: {}", why.sentence());
            start(&is_container, but);
        }
    }
    fs::remove_file(record()).or_error(Kind::Node, || format!("cannot remove `{}`", record().display()))
}

/// The ids of those that run.
async fn running() -> Result<BTreeSet<String>> {
    let label = crate::wire::labels::LABEL_CONTAINER.to_owned();
    let filters = [("label".to_owned(), vec![label]), ("status".to_owned(), vec!["running".to_owned()])].into();
    let options = ListContainersOptionsBuilder::new().filters(&filters).build();
    let list = docker::connect().await?.list_containers(Some(options)).await;
    Ok(list.or_error(Kind::Node, || "cannot list containers".into())?.into_iter().filter_map(|fact| fact.id).collect())
}

/// Whether `/proc/<pid>/cgroup` is that of one of these containers, or of one inside it.
fn of(ids: &BTreeSet<String>, groups: &str) -> bool {
    groups.split(|c: char| !c.is_ascii_hexdigit()).any(|part| part.len() == 64 && ids.contains(part))
}

/// Whether `/proc/<pid>/cgroup` is that of any container.
fn is_container(groups: &str) -> bool {
    groups.split(|c: char| !c.is_ascii_hexdigit()).any(|part| part.len() == 64)
}

/// Those whose control groups are `mine`.
fn processes(mine: &dyn Fn(&str) -> bool) -> Vec<i32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<i32>().ok();
    all.filter_map(number).filter(|pid| is(*pid, mine)).collect()
}

fn is(pid: i32, mine: &dyn Fn(&str) -> bool) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|groups| mine(&groups))
}

/// Every thread of it is stopped, or has ended.
fn is_stopped(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.into_iter().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The state stands behind the name, which may have any character in it.
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 't', 'Z', 'X']))
    })
}

/// Stops whatever `all` finds, until it finds nothing that moves twice in a row: what one of them started just before it stood may not be in
/// the first look, and is in the second, in which nobody is left who starts anything.
///
/// Whoever waits for a child to begin (vfork(2), which is what posix_spawn(3) does) waits for good if that was stopped before: all of them go on
/// for a moment then, as `go_on` does it, and are met elsewhere at the next try.
fn until_still(all: &dyn Fn() -> Vec<i32>, stop: &dyn Fn(i32), go_on: &dyn Fn()) -> Result<()> {
    let (begun, mut tried, mut patience) = (Instant::now(), Instant::now(), TRY);
    let mut stood = false;
    loop {
        let moving: Vec<i32> = all().into_iter().filter(|pid| !is_stopped(*pid)).collect();
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
fn start(mine: &dyn Fn(&str) -> bool, but: &BTreeSet<i32>) {
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
fn signal(pid: i32, signal: Signal, mine: &dyn Fn(&str) -> bool) {
    let Some(open) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { return };
    if is(pid, mine) {
        let _ = pidfd_send_signal(open, signal);
    }
}

fn record() -> PathBuf {
    Path::new(paths::STATE).join(RECORD)
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
            until_still(&|| group.all(), &|pid| tell(pid, Signal::STOP), &go_on).unwrap();
            let before = group.all();
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(group.all(), before, "somebody was started by one that stands still");
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
