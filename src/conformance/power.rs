//! The power is cut: a node's machine is gone from one instant to the next, and nobody told it before.

use std::{fs, time::Duration};

use lap_base::error::{Error, Kind, OrError, Result};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{files::NODE, scenario::On};
use crate::{
    drivers::{
        self,
        command::Run,
        node::{docker::container_name, vm::spec::domain},
    },
    workspace::Workspace,
};

/// So long whoever looks after the machines may take to see that one is gone.
const SEEN: Duration = Duration::from_secs(30);

/// Cuts it. `Some`: why that is not possible.
///
/// # Errors
/// The machine is not there, or goes on.
pub async fn cut(workspace: &Workspace, on: On) -> Result<Option<String>> {
    let lab = &workspace.lab.name;
    match on {
        On::Docker => {
            let docker = crate::docker::local().await?;
            let name = container_name(lab, NODE);
            let killed = docker.kill_container(&name, None).await;
            killed.or_error(Kind::Host, || format!("cannot kill `{name}`"))?;
        }
        On::Libvirt => {
            let file = format!("/run/libvirt/qemu/{}.pid", domain(lab, NODE));
            let text = match fs::read_to_string(&file) {
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Ok(Some(ROOT.into())),
                text => text.or_error(Kind::Host, || format!("cannot read `{file}`"))?,
            };
            let pid = text.trim().parse().or_error(Kind::Host, || format!("`{file}`"))?;
            match kill(Pid::from_raw(pid), Signal::SIGKILL) {
                Err(Errno::EPERM) => return Ok(Some(ROOT.into())),
                killed => killed.or_error(Kind::Host, || format!("cannot kill the process {pid}"))?,
            }
        }
        On::Ssh => return Ok(Some("lap cannot switch its power".into())),
        On::Virtualbox => {
            let run = Run::new("VBoxManage", ["controlvm", &domain(lab, NODE), "poweroff"]);
            run.quiet(Kind::Host).await?;
        }
    }
    let until = tokio::time::Instant::now() + SEEN;
    loop {
        let facts = drivers::node::observe(&workspace.lab).await?.facts;
        if facts.nodes.get(NODE).is_none_or(|node| !node.running) {
            return Ok(None);
        }
        if tokio::time::Instant::now() > until {
            return Err(Error::new(Kind::Host, format!("`{NODE}` still runs after the power loss")));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

const ROOT: &str = "only root may kill the process of a machine";
