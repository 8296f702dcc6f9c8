//! Where systemd is the first process, it starts the agent and Docker, in this order.

use std::{
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use lap_base::error::{Kind, OrError, Result};

/// Whether systemd is the first process here.
pub fn is_here() -> bool {
    Path::new("/run/systemd/system").exists()
}

/// Tells systemd that the agent is ready (sd_notify(3)). Nothing where it was not started by it.
pub fn ready() {
    let Some(name) = std::env::var("NOTIFY_SOCKET").ok().filter(|name| !name.is_empty()) else { return };
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&name),
    };
    let send = || -> std::io::Result<()> {
        UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address?)?;
        Ok(())
    };
    if let Err(error) = send() {
        eprintln!("agent: cannot tell systemd that it is ready: {error}");
    }
}

/// Looks after Docker's unit: asks for it once, and again when it was there and is gone. `true` if it was gone.
///
/// # Errors
/// systemd cannot be asked.
pub fn docker(runs: bool) -> Result<bool> {
    static ASKED: AtomicBool = AtomicBool::new(false);
    static SEEN: AtomicBool = AtomicBool::new(false);
    if runs {
        SEEN.store(true, Ordering::Relaxed);
        ASKED.store(true, Ordering::Relaxed);
        return Ok(false);
    }
    let gone = SEEN.swap(false, Ordering::Relaxed);
    if gone || !ASKED.swap(true, Ordering::Relaxed) {
        // Not waited for: it is ordered after us.
        systemctl(&["start", "--no-block", "docker.service"])?;
    }
    Ok(gone)
}

/// Runs systemctl(1).
///
/// # Errors
/// What it says.
pub fn systemctl(arguments: &[&str]) -> Result<()> {
    super::command::run(Command::new("systemctl").args(arguments))
}

/// The last lines Docker's unit wrote.
pub fn docker_log_tail() -> String {
    let output = Command::new("journalctl").args(["-u", "docker", "-n", "3", "-o", "cat", "--no-pager"]).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// Whether this unit is active.
///
/// # Errors
/// systemd cannot be asked.
pub fn active(unit: &str) -> Result<bool> {
    let status = Command::new("systemctl").args(["is-active", "--quiet", unit]).status();
    Ok(status.or_error(Kind::Node, || "cannot run `systemctl`".into())?.success())
}
