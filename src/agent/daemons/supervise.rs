//! The two daemons of a node: sshd and dockerd. The agent starts them, finds them again after its own restart, and starts
//! them again when they fall over. Where there is systemd, dockerd is its.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use lap_base::{
    durable::write_file,
    error::{Error, Kind, OrError, Result},
};
use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};

use crate::{
    agent::system::{kernel, systemd},
    wire::{paths, protocol::NodeConfig},
};

const SSHD_CONFIG: &str = "/run/lap/sshd_config";
const SSHD_PID: &str = "/run/lap/sshd.pid";
const DOCKER_PID: &str = "/var/run/docker.pid";
/// dockerd's own file comes late when the machine is busy: who looks before that would start a second one.
const DOCKER_STARTED: &str = "/run/lap/dockerd.pid";
const CONTAINERD_PID: &str = "/var/run/docker/containerd/containerd.pid";
const DOCKER_LOG: &str = "/var/log/dockerd.log";

/// sshd_config(5): keys only, root only, no password is ever asked for. The agent's and Docker's sockets are reached
/// through stream-local forwarding. `vagrant_keys` is in the seed of a machine that another host's Vagrant looks after. A peer
/// that does not answer for 15 s is cut off, and its lock is free.
const SSHD: &str = "\
HostKey /var/lib/lap/ssh/host_ed25519_key
AuthorizedKeysFile /var/lib/lap/ssh/authorized_keys /var/lib/lap/ssh/vagrant_keys
PidFile /run/lap/sshd.pid
AllowUsers root
PermitRootLogin prohibit-password
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
PrintLastLog no
X11Forwarding no
AllowAgentForwarding no
AllowTcpForwarding local
AllowStreamLocalForwarding yes
MaxStartups 64:30:256
MaxSessions 100
ClientAliveInterval 5
ClientAliveCountMax 3
Subsystem sftp internal-sftp
";

/// Starts sshd unless it runs.
///
/// # Errors
/// Its host key is missing, or it refuses to start.
pub fn sshd(config: &NodeConfig) -> Result<()> {
    // An agent of an earlier build, which this one replaced, kept the number of its sshd elsewhere.
    let earlier = config.sshd.is_none() && running("/run/sshd.pid", "sshd").is_some();
    if earlier || running(SSHD_PID, "sshd").is_some() {
        return Ok(());
    }
    for dir in ["/run/sshd", "/run/lap"] {
        fs::create_dir_all(dir).or_error(Kind::Node, || format!("cannot make `{dir}`"))?;
    }
    write_file(Path::new(SSHD_CONFIG), sshd_config(config).as_bytes(), 0o644)?;
    // Debian's tells systemd that it is ready, where that listens; whoever is asked that here is the agent.
    let status = Command::new("/usr/sbin/sshd").args(["-f", SSHD_CONFIG]).env_remove("NOTIFY_SOCKET").status();
    match status.or_error(Kind::Node, || "cannot start `sshd`".into())? {
        status if status.success() => Ok(()),
        status => Err(Error::new(Kind::Node, format!("`sshd` ended with {status}"))),
    }
}

fn sshd_config(config: &NodeConfig) -> String {
    match config.sshd {
        Some(listen) => format!("ListenAddress {listen}\n{SSHD}"),
        None => format!("ListenAddress 0.0.0.0\n{SSHD}"),
    }
}

/// Starts dockerd unless it runs; `true` if it had to. It answers a moment later.
///
/// # Errors
/// It cannot be started at all.
pub fn dockerd(config: &NodeConfig, cgroup_parent: Option<&str>) -> Result<bool> {
    if systemd::is_here() {
        return systemd::docker(running(DOCKER_PID, "dockerd").is_some());
    }
    if running_dockerd().is_some() {
        return Ok(false);
    }
    // A killed node leaves these. dockerd refuses to start over its own, and believes that whatever process has the
    // number in the other is its containerd. One that outlived its dockerd is taken over, and the containers with it.
    let _ = fs::remove_file(DOCKER_PID);
    if running(CONTAINERD_PID, "containerd").is_none() {
        let _ = fs::remove_file(CONTAINERD_PID);
    }
    let log = fs::OpenOptions::new().create(true).append(true).open(DOCKER_LOG);
    let log = log.or_error(Kind::Node, || format!("cannot open `{DOCKER_LOG}`"))?;
    let errors = log.try_clone().or_error(Kind::Node, || format!("cannot open `{DOCKER_LOG}`"))?;
    let child = Command::new("dockerd")
        .args(dockerd_arguments(config, cgroup_parent))
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        // Not killed with the agent, nor by what stops the agent.
        .process_group(0)
        .spawn()
        .or_error(Kind::Node, || "cannot start `dockerd`".into())?;
    write_file(Path::new(DOCKER_STARTED), child.id().to_string().as_bytes(), 0o644)?;
    Ok(true)
}

/// dockerd's command line: containers ask the environment's own DNS server first, and while that does not answer, the
/// servers behind it.
fn dockerd_arguments(config: &NodeConfig, cgroup_parent: Option<&str>) -> Vec<String> {
    let mut arguments: Vec<String> =
        ["--storage-driver=overlay2", "--log-opt=max-size=10m", "--log-opt=max-file=3"].map(str::to_owned).into();
    arguments.push(format!("--dns={}", config.address));
    arguments.extend(config.upstreams.iter().map(|upstream| format!("--dns={upstream}")));
    arguments.extend(cgroup_parent.map(|parent| format!("--cgroup-parent={parent}")));
    arguments
}

/// The last lines dockerd wrote, for an error message.
pub fn docker_log_tail() -> String {
    if systemd::is_here() {
        return systemd::docker_log_tail();
    }
    let text = fs::read(DOCKER_LOG).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(3)..].join("\n")
}

/// Stops dockerd and with it the containers, each in peace (its own grace period), then sshd. systemd does this itself, and
/// only when the machine goes down.
pub fn stop() {
    for (pid, patience) in [(running_dockerd(), 100), (running(SSHD_PID, "sshd"), 10)] {
        let Some(pid) = pid else { continue };
        end(pid, Signal::SIGTERM, patience);
    }
}

/// Stops lap's own sshd; whoever is logged in stays.
pub fn stop_sshd() {
    if let Some(pid) = running(SSHD_PID, "sshd") {
        let _ = kill(pid, Signal::SIGTERM);
    }
}

/// Ends Docker in peace; the agent's next look starts it again, and Docker starts the containers that ran.
///
/// # Errors
/// systemd refuses.
pub fn restart_docker() -> Result<()> {
    if systemd::is_here() {
        return systemd::systemctl(&["restart", "docker.service"]);
    }
    if let Some(pid) = running_dockerd() {
        end(pid, Signal::SIGTERM, 100);
        end(pid, Signal::SIGKILL, 10);
    }
    Ok(())
}

/// Ends containerd in peace. Docker starts its own one again; a system's is systemd's.
///
/// # Errors
/// systemd refuses.
pub fn restart_containerd() -> Result<()> {
    if let Some(pid) = running(CONTAINERD_PID, "containerd") {
        end(pid, Signal::SIGTERM, 10);
        end(pid, Signal::SIGKILL, 10);
        return Ok(());
    }
    if systemd::is_here() { systemd::systemctl(&["restart", "containerd.service"]) } else { Ok(()) }
}

/// The number of Docker's process.
pub fn docker_pid() -> Option<i32> {
    running_dockerd().map(Pid::as_raw)
}

fn end(pid: Pid, how: Signal, seconds: u32) {
    if !alive(pid) {
        return;
    }
    let _ = kill(pid, how);
    for _ in 0..seconds * 10 {
        if !alive(pid) {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Removes leftovers of an earlier life, before anything is started.
pub fn sweep() {
    kernel::sweep_cgroups();
    let _ = fs::remove_file(paths::SOCKET);
}

/// The one that was started, from its first moment on.
fn running_dockerd() -> Option<Pid> {
    running(DOCKER_STARTED, "dockerd").or_else(|| running(DOCKER_PID, "dockerd"))
}

fn running(pid_file: &str, name: &str) -> Option<Pid> {
    let pid = fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    let pid = Pid::from_raw(pid);
    (comm.trim() == name && alive(pid)).then_some(pid)
}

/// Reaps it if it is a dead child of ours: a zombie still has a pid.
fn alive(pid: Pid) -> bool {
    let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
    let zombie = fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')));
    !zombie && !matches!(kill(pid, None), Err(Errno::ESRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockerd_asks_the_environments_dns_first() {
        let config = NodeConfig {
            lab: "lap".into(),
            node: "test".into(),
            environment: "test".into(),
            address: "10.9.0.10".into(),
            disk: 1,
            upstreams: vec!["9.9.9.9".into()],
            sshd: None,
            device: None,
            filesystem: None,
        };
        assert!(sshd_config(&config).starts_with("ListenAddress 0.0.0.0\nHostKey /var/lib/lap/ssh/"));
        let beside = NodeConfig { sshd: "127.0.0.1:7022".parse().ok(), ..config.clone() };
        assert!(sshd_config(&beside).starts_with("ListenAddress 127.0.0.1:7022\nHostKey "));
        assert_eq!(
            dockerd_arguments(&config, Some("/docker/x/lap"))[3..],
            ["--dns=10.9.0.10", "--dns=9.9.9.9", "--cgroup-parent=/docker/x/lap"]
        );
    }
}
