//! Tasks of containerd that a killed Docker leaves.
//!
//! A Docker that is killed while it starts a container leaves a task of that container in containerd: a shim, sometimes with a process that
//! waits for the start. The next Docker does not know this task and does not remove it, and containerd refuses a second one: the container
//! cannot be started any more. containerd removes the task, and what runs in it, as soon as the shim ends. It gives itself five seconds for
//! that. On a busy machine this is too little, and then the task's directory is left, which containerd removes only at its next start.

use std::{fs, os::fd::OwnedFd, path::Path, time::Duration};

use bollard::{
    Docker,
    errors::Error as DockerError,
    query_parameters::{InspectContainerOptions, StartContainerOptions},
};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::time::Instant;

use super::containerd::{self, Right};

/// How long containerd may take to remove a task after its shim ended, or to come back, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// After this time containerd no longer removes the directory of a task by itself.
const CLEANED: Duration = Duration::from_secs(10);
/// Between two tries.
const BETWEEN: Duration = Duration::from_millis(200);
/// Where Docker's own containerd, and a system's, keep the directories of Docker's tasks.
const TASKS: [&str; 2] = [
    "/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby",
    "/run/containerd/io.containerd.runtime.v2.task/moby",
];

/// What an earlier start left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leftover {
    Nothing,
    /// A shim. It is ended.
    Shim,
    /// Only the task's directory.
    Directory,
}

/// Starts a container. If a task of an earlier start is in the way, it is removed first; that may need a restart of containerd.
///
/// # Errors
/// Docker refuses.
pub async fn start(docker: &Docker, container: &str, right: Right<'_>) -> Result<(), DockerError> {
    let (mut until, mut left, mut restarted) = (None, None, false);
    loop {
        let turn = containerd::starting().await;
        let Err(error) = docker.start_container(container, None::<StartContainerOptions>).await else { return Ok(()) };
        drop(turn);
        // Docker versions differ in the code with which they report the task. No answer at all, or no such container, has another cause.
        if !matches!(error, DockerError::DockerResponseServerError { status_code: 500 | 409, .. }) {
            return Err(error);
        }
        let now = Instant::now();
        let leftover = leftover(docker, container).await?;
        if leftover != Leftover::Nothing {
            until.get_or_insert(now + PATIENCE);
        }
        if let (Leftover::Directory, false) = (leftover, restarted)
            && let needed = *left.get_or_insert(now)
            && now - needed >= CLEANED
        {
            eprintln!("agent: containerd did not remove a task of `{container}`: containerd is started again");
            if let Err(why) = containerd::restart(docker, right, needed).await {
                eprintln!("agent: cannot start containerd again: {why}");
                return Err(error);
            }
            (until, restarted) = (Some(Instant::now() + PATIENCE), true);
        }
        // Another cause of the failure is the caller's: nothing was in the way.
        if until.is_none_or(|until| now >= until) {
            return Err(error);
        }
        tokio::time::sleep(BETWEEN).await;
    }
}

/// What an earlier start left of a container that does not run; ends the shims.
async fn leftover(docker: &Docker, container: &str) -> Result<Leftover, DockerError> {
    let inspect = || docker.inspect_container(container, None::<InspectContainerOptions>);
    let Some(id) = inspect().await?.id else { return Ok(Leftover::Nothing) };
    let shims = shims(&id);
    let directory = TASKS.iter().any(|tasks| Path::new(tasks).join(&id).exists());
    if shims.is_empty() && !directory {
        return Ok(Leftover::Nothing);
    }
    // Docker answers this only when no start of the container is under way. The shim of one that has just succeeded is in use; the shim of
    // one that begins after this is not among these.
    let state = inspect().await?.state.unwrap_or_default();
    if [state.running, state.paused, state.restarting].contains(&Some(true)) {
        return Ok(Leftover::Nothing);
    }
    for shim in &shims {
        eprintln!("agent: a task of an earlier start is in the way of `{container}`: its shim is ended");
        // An error means that the shim has ended already: that is the purpose.
        let _ = pidfd_send_signal(shim, Signal::KILL);
    }
    Ok(if shims.is_empty() { Leftover::Directory } else { Leftover::Shim })
}

/// The shims of the container with this id, by descriptor: the number may be another process's by the time of the signal.
fn shims(id: &str) -> Vec<OwnedFd> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let open = |number: i32| {
        let open = pidfd_open(Pid::from_raw(number)?, PidfdFlags::empty()).ok()?;
        is_shim_of(number, id).then_some(open)
    };
    numbers.filter_map(open).collect()
}

fn is_shim_of(number: i32, id: &str) -> bool {
    let program = fs::read_link(format!("/proc/{number}/exe")).ok();
    let name = program.as_deref().and_then(|program| program.file_name()?.to_str());
    let arguments = fs::read_to_string(format!("/proc/{number}/cmdline")).unwrap_or_default();
    name.is_some_and(|name| name.starts_with("containerd-shim"))
        && names(&arguments.split('\0').collect::<Vec<_>>(), id)
}

/// Whether a shim's command line names this container. A shim that containerd calls for something else has a verb at its end.
fn names(arguments: &[&str], id: &str) -> bool {
    arguments.windows(2).any(|pair| pair == ["-id", id])
        && !arguments.iter().any(|word| ["start", "delete"].contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shim_belongs_to_the_container_that_its_command_line_names() {
        let line = "/usr/bin/containerd-shim-runc-v2 -namespace moby -id 17cf -address /run/containerd.sock";
        let names = |line: &str, id| names(&line.split(' ').collect::<Vec<_>>(), id);
        assert!(names(line, "17cf"));
        assert!(!names(line, "17c"));
        assert!(!names(line, "moby"));
        assert!(!names(&format!("{line} -bundle /run/17cf delete"), "17cf"));
        assert!(!names("/usr/bin/containerd-shim-runc-v2 -id", "17cf"));
    }

    #[test]
    fn only_a_shim_is_one() {
        assert!(!is_shim_of(std::process::id().cast_signed(), ""));
    }
}
