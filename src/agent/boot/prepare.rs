//! `lap agent prepare`, on a machine that becomes a node: puts everything in its place and starts the agent. May be killed
//! and run again; what is right already is left alone. Says on its stderr what it does.

use std::{
    fs,
    io::Read,
    os::unix::{net::UnixStream, process::CommandExt},
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use lap_base::exit;
use lap_base::{
    durable::write_file,
    error::{Error, Kind, OrError, Result},
    state,
};
use nix::{
    sys::{
        signal::{Signal, kill},
        socket::{getsockopt, sockopt::PeerCredentials},
    },
    unistd::Pid,
};

use crate::{
    agent::system::systemd,
    wire::{
        machine::{DOCKER_SETTINGS, NodeSetup, config_text, docker_settings_text, is_ours},
        paths,
        protocol::NodeConfig,
        units,
    },
};

const AGENT_LOG: &str = "/var/log/lap-agent.log";

/// Reads a [`NodeSetup`] from stdin and does it.
pub fn run() -> ExitCode {
    let mut text = Vec::new();
    let done = std::io::stdin()
        .read_to_end(&mut text)
        .or_error(Kind::Other, || "cannot read the request".into())
        .and_then(|_| {
            serde_json::from_slice::<NodeSetup>(&text).or_error(Kind::Usage, || "cannot read the request".into())
        })
        .and_then(|order| prepare(&order));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(exit::code(error.kind))
        }
    }
}

fn prepare(order: &NodeSetup) -> Result<()> {
    mine(&order.config)?;
    let mut changed = false;
    let binary = fs::read("/proc/self/exe").or_error(Kind::Node, || "cannot read lap's own binary".into())?;
    let config = config_text(&order.config)?;
    fs::create_dir_all(paths::SSH).or_error(Kind::Node, || format!("cannot make `{}`", paths::SSH))?;
    let key = Path::new(paths::SSH).join("host_ed25519_key");
    put(&key, order.host_key.expose().as_bytes(), 0o600, &mut changed)?;
    // Operators may have changed since; `lap up` sets them.
    let access = Path::new(paths::SSH).join("authorized_keys");
    if !access.exists() {
        put(&access, order.authorized_keys.as_bytes(), 0o600, &mut changed)?;
    }
    put(Path::new(paths::BINARY), &binary, 0o755, &mut changed)?;
    put(Path::new(paths::CONFIG), &config, 0o600, &mut changed)?;
    docker_settings(&order.config)?;
    if systemd::is_here() { by_systemd(changed) } else { by_hand(changed) }
}

/// Refuses a machine that is another lab's, or another node.
fn mine(config: &NodeConfig) -> Result<()> {
    // A machine whose own name cannot be read may be another lab's.
    let is = state::json_in::<NodeConfig>(Path::new(paths::HOME), "node.json")
        .hint("if the machine is not in use, remove the file on the machine");
    let Some(is) = is.value_or_refuse()? else { return Ok(()) };
    if (&is.lab, &is.node) == (&config.lab, &config.node) {
        return Ok(());
    }
    Err(Error::new(Kind::Refused, format!("this machine is the node `{}` of the lab `{}`", is.node, is.lab)))
}

fn put(path: &Path, bytes: &[u8], mode: u32, changed: &mut bool) -> Result<()> {
    if fs::read(path).is_ok_and(|is| is == bytes) {
        return Ok(());
    }
    eprintln!("write {}", path.display());
    *changed = true;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).or_error(Kind::Node, || format!("cannot make `{}`", parent.display()))?;
    }
    write_file(path, bytes, mode)
}

/// Containers ask the environment's own server first. Without systemd dockerd is told by its arguments, and would refuse
/// to be told twice.
fn docker_settings(config: &NodeConfig) -> Result<()> {
    let path = Path::new(DOCKER_SETTINGS);
    let ours = docker_settings_text(config);
    let is = fs::read_to_string(path).unwrap_or_default();
    if !systemd::is_here() || (path.exists() && !is_ours(&is)) || is == ours {
        return Ok(());
    }
    put(path, ours.as_bytes(), 0o644, &mut false)?;
    // Also re-reads what it can while it runs; the rest counts from its next start.
    if systemd::active("docker.service")? && !foreign_containers() {
        eprintln!("restart docker.service");
        systemd::systemctl(&["restart", "docker.service"])?;
    }
    Ok(())
}

/// Containers of others run here: their Docker is not restarted.
fn foreign_containers() -> bool {
    let list = |filter: &[&str]| {
        let output = Command::new("docker").args(["ps", "--quiet"]).args(filter).output();
        output.map_or(usize::MAX, |output| output.stdout.iter().filter(|byte| **byte == b'\n').count())
    };
    list(&[]) > list(&["--filter", "label=lap.container"])
}

fn by_systemd(mut changed: bool) -> Result<()> {
    put(Path::new(units::MODULES), units::MODULES_TEXT.as_bytes(), 0o644, &mut changed)?;
    let mut units = false;
    put(Path::new(units::UNIT), units::UNIT_TEXT.as_bytes(), 0o644, &mut units)?;
    put(Path::new(units::DOCKER_UNIT), units::DOCKER_TEXT.as_bytes(), 0o644, &mut units)?;
    if units {
        systemd::systemctl(&["daemon-reload"])?;
    }
    let _ = systemd::systemctl(&["restart", "systemd-modules-load.service"]);
    systemd::systemctl(&["--quiet", "enable", "lap-agent.service"])?;
    if changed || units || !systemd::active("lap-agent.service")? {
        eprintln!("start lap-agent.service");
        systemd::systemctl(&["restart", "lap-agent.service"])?;
    }
    Ok(())
}

/// No systemd: the agent's own supervisor, as in a `docker` node, only not as the first process. After a boot somebody has
/// to start it: `lap node prepare` again, or the machine's own way.
fn by_hand(changed: bool) -> Result<()> {
    if let Ok(agent) = agent_pid() {
        if changed {
            eprintln!("restart the agent");
            // Its supervisor starts it again; Docker and sshd go on.
            let _ = kill(Pid::from_raw(agent), Signal::SIGKILL);
        }
        return Ok(());
    }
    eprintln!("start the agent");
    let log = fs::OpenOptions::new().create(true).append(true).open(AGENT_LOG);
    let log = log.or_error(Kind::Node, || format!("cannot open `{AGENT_LOG}`"))?;
    let errors = log.try_clone().or_error(Kind::Node, || format!("cannot open `{AGENT_LOG}`"))?;
    Command::new(paths::BINARY)
        .args(["agent", "init"])
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map(drop)
        .or_error(Kind::Node, || format!("cannot start `{}`", paths::BINARY))
}

/// The process that listens on the agent's socket.
pub(crate) fn agent_pid() -> Result<i32> {
    let what = || "the agent does not run".to_owned();
    let stream = UnixStream::connect(paths::SOCKET).or_error(Kind::Node, what)?;
    getsockopt(&stream, PeerCredentials).map(|peer| peer.pid()).or_error(Kind::Node, what)
}
