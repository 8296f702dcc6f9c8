//! A command in a container of this machine, not through lap. `docker exec` starts half a dozen processes for each, and tests look
//! thousands of times: for root, nsenter(1) is there at once.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use super::lab::{Ran, run};

/// The first process of a container: its number, and when it was started, since numbers come again.
type First = (u32, String);

static FIRST: Mutex<BTreeMap<String, First>> = Mutex::new(BTreeMap::new());

/// Runs it to its end.
pub fn inside(container: &str, command: &[&str]) -> Ran {
    let Some(pid) = first_process(container).filter(|_| nix::unistd::geteuid().is_root()) else {
        return run("docker", &[&["exec", container][..], command].concat());
    };
    let mut nsenter = Command::new("/usr/bin/nsenter");
    nsenter.args(["--target", &pid.to_string(), "--mount", "--uts", "--ipc", "--net", "--pid", "--"]).args(command);
    nsenter
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root");
    Ran::of(&nsenter.stdin(Stdio::null()).output().unwrap())
}

/// `None`: it does not run.
fn first_process(container: &str) -> Option<u32> {
    let known = FIRST.lock().unwrap_or_else(PoisonError::into_inner).get(container).cloned();
    if let Some((pid, _)) = known.filter(|(pid, since)| started(*pid).as_ref() == Some(since)) {
        return Some(pid);
    }
    let pid = run("docker", &["inspect", "--format", "{{.State.Pid}}", container]).out.trim().parse().ok()?;
    let since = started(pid)?;
    FIRST.lock().unwrap_or_else(PoisonError::into_inner).insert(container.to_owned(), (pid, since));
    Some(pid)
}

/// Field 22 of proc_pid_stat(5); `None`: there is no such process, or it is only waiting to be buried.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let alive = !matches!(fields.next(), Some("Z" | "X"));
    fields.nth(18).filter(|_| alive).map(str::to_owned)
}
