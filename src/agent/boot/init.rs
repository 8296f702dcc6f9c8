//! First process of a `docker` node: reaps orphans, keeps the agent alive, passes signals on. Nothing in it ends the node.
//!
//! The agent is a process of its own so that it may be killed, or replaced by a newer binary, while Docker and sshd
//! go on. Elsewhere systemd does this.

use std::{
    process::{Command, ExitCode},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, Signal, kill},
        wait::{WaitStatus, waitpid},
    },
    unistd::Pid,
};

use crate::wire::paths;

/// The agent ends with this to be started again, from a newer binary.
pub const RESTART: u8 = 75;
/// How long to wait before an agent that fell over is started again.
const PAUSE: Duration = Duration::from_millis(500);
/// So often an agent that cannot be executed is tried again: somebody may be writing its file (ETXTBSY). Then the node ends, and
/// `lap up` brings it a new one.
const TRIES: u32 = 20;

/// Runs until it is told to end (SIGTERM, SIGINT): then the agent stops Docker in peace, and so does the node.
pub fn run() -> ExitCode {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    // Blocked here and in every thread; the thread below takes them one by one.
    if let Err(error) = signals.thread_block() {
        eprintln!("cannot block signals: {error}");
        return ExitCode::FAILURE;
    }
    // The agent, sshd and Docker inherit it. On a virtual machine the unit says the same.
    if let Err(error) = lap_base::descriptors::raise() {
        eprintln!("cannot raise the limit of open files: {error}");
    }
    static ENDING: AtomicBool = AtomicBool::new(false);
    let agent = std::sync::Arc::new(std::sync::Mutex::new(None::<Pid>));
    thread::spawn({
        let agent = agent.clone();
        move || {
            while signals.wait().is_ok() {
                ENDING.store(true, Ordering::SeqCst);
                if let Some(pid) = *agent.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
                    let _ = kill(pid, Signal::SIGTERM);
                }
            }
        }
    });
    let mut tries = 0;
    loop {
        let child = match Command::new(paths::BINARY).args(["agent", "run"]).spawn() {
            Ok(child) => Pid::from_raw(child.id().cast_signed()),
            Err(error) => {
                eprintln!("cannot start `{}`: {error}", paths::BINARY);
                tries += 1;
                if tries == TRIES || ENDING.load(Ordering::SeqCst) {
                    return ExitCode::FAILURE;
                }
                thread::sleep(PAUSE);
                continue;
            }
        };
        tries = 0;
        *agent.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(child);
        if ENDING.load(Ordering::SeqCst) {
            let _ = kill(child, Signal::SIGTERM);
        }
        let status = reap_until(child);
        *agent.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
        if ENDING.load(Ordering::SeqCst) {
            return ExitCode::SUCCESS;
        }
        if status != Some(i32::from(RESTART)) {
            eprintln!("the agent ended ({status:?}), starting it again");
            thread::sleep(PAUSE);
        }
    }
}

/// Reaps every child until it was `agent`; its exit code, `None` for a signal.
fn reap_until(agent: Pid) -> Option<i32> {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == agent => return Some(code),
            Ok(WaitStatus::Signaled(pid, ..)) if pid == agent => return None,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}
