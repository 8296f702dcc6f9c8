//! `lap agent leave`, on a machine that stops being a node: takes away what `lap node prepare` put there and nothing else.
//! Packages stay; the data stays unless it is said to go.

use std::{fs, path::Path, process::Command, process::ExitCode};

use lap_base::{
    error::{Error, Kind, OrError, Result},
    state,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::prepare;
use crate::{
    agent::{
        pool,
        system::{command, systemd},
    },
    wire::{machine, paths, protocol::NodeConfig, units},
};

/// Does it. `data`: also the pool.
pub fn run(lab: &str, node: &str, data: bool) -> ExitCode {
    match leave(lab, node, data) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(lap_base::exit::code(error.kind))
        }
    }
}

fn leave(lab: &str, node: &str, data: bool) -> Result<()> {
    let config = state::json_in::<NodeConfig>(Path::new(paths::HOME), "node.json").value_or_refuse()?;
    // Absent: gone through before, up to its last step.
    let Some(config) = config else { return remove_binary() };
    if (config.lab.as_str(), config.node.as_str()) != (lab, node) {
        let message = format!("this machine is the node `{}` of the lab `{}`", config.node, config.lab);
        return Err(Error::new(Kind::Refused, message));
    }
    remove_containers()?;
    stop_agent()?;
    pool::unmount();
    // Only where it was mounted: a directory with something in it is not removed.
    let _ = fs::remove_dir(paths::POOL);
    if data {
        eprintln!("remove the data");
        remove_data(&config)?;
    } else if Path::new(paths::POOL_IMAGE).exists() {
        eprintln!("the data stays in {}", paths::POOL_IMAGE);
    } else if let Some(device) = &config.device {
        eprintln!("the data stays on {device}");
    }
    let ours = [
        paths::SECRETS,
        paths::ENV,
        paths::CHECKS,
        paths::STAGED,
        paths::TRUST,
        paths::NAMES,
        paths::POLICY,
        paths::PUSH,
        paths::SSH,
    ];
    for path in ours {
        let _ = fs::remove_dir_all(path);
    }
    // Mounts of containers' data may still be there: only empty directories are removed.
    crate::agent::pool::binds::remove_all();
    if fs::read_to_string(machine::DOCKER_SETTINGS).is_ok_and(|text| machine::is_ours(&text)) {
        let _ = fs::remove_file(machine::DOCKER_SETTINGS);
    }
    // The last but one: until here the machine is known as this node.
    fs::remove_file(paths::CONFIG).or_error(Kind::Node, || format!("cannot remove `{}`", paths::CONFIG))?;
    remove_binary()
}

fn remove_binary() -> Result<()> {
    let _ = fs::remove_file(paths::BINARY);
    Ok(())
}

/// Those with lap's label; others are others'.
fn remove_containers() -> Result<()> {
    let list = Command::new("docker").args(["ps", "--all", "--quiet", "--filter", "label=lap.container"]).output();
    let list = list.or_error(Kind::Node, || "cannot run `docker`".into())?;
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    for id in list.split_whitespace() {
        eprintln!("remove the container {id}");
        let stop = Command::new("docker").args(["stop", id]).output();
        stop.or_error(Kind::Node, || "cannot run `docker`".into())?;
        command::run(Command::new("docker").args(["rm", "--force", id]))?;
    }
    Ok(())
}

fn stop_agent() -> Result<()> {
    eprintln!("stop the agent");
    if systemd::is_here() {
        let _ = systemd::systemctl(&["disable", "--now", "lap-agent.service"]);
        for path in [units::UNIT, units::DOCKER_UNIT, units::MODULES] {
            let _ = fs::remove_file(path);
        }
        systemd::systemctl(&["daemon-reload"])?;
        crate::agent::daemons::stop_sshd();
        return Ok(());
    }
    // Its supervisor: the agent stops Docker and sshd first, each in peace.
    let Ok(agent) = prepare::agent_pid() else { return Ok(()) };
    let parent = fs::read_to_string(format!("/proc/{agent}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse::<i32>().ok());
    if let Some(parent) = parent.filter(|parent| *parent > 1) {
        let _ = kill(Pid::from_raw(parent), Signal::SIGTERM);
    }
    for _ in 0..1200 {
        if !Path::new(&format!("/proc/{agent}")).exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Ok(())
}

fn remove_data(config: &NodeConfig) -> Result<()> {
    if pool::is_mounted(paths::POOL) {
        return Err(
            Error::new(Kind::Node, "the pool is still in use").hint("`fuser -vm /data` shows which programs use it")
        );
    }
    match &config.device {
        Some(device) => command::run(Command::new("wipefs").args(["--all", "--quiet", device])),
        None => match fs::remove_file(paths::POOL_IMAGE) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::new(Kind::Node, format!("cannot remove `{}`: {error}", paths::POOL_IMAGE)))
            }
            _ => Ok(()),
        },
    }
}
