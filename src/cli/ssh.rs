//! `lap ssh`

use std::{
    net::{IpAddr, Ipv4Addr},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, ExitCode},
};

use lap_base::error::{Error, Kind, Result};

use super::{common::runtime, global::Global};
use crate::{
    apply::local::{known_hosts_file, read},
    drivers::{self, stock_ssh::quoted},
    keys::known_hosts,
    workspace::Workspace,
};

/// Open a shell or run a command on a node, with stock ssh
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The node [default: the master of the default environment]; an environment's name means its master
    node: Option<String>,
    /// A command and its arguments, after `--` [default: a shell]
    #[arg(last = true)]
    command: Vec<String>,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let error = ssh(&workspace, self.node.as_deref(), false, &self.command)?;
        Err(Error::new(Kind::Host, format!("cannot run `ssh`: {error}")).hint("`sudo apt-get install openssh-client`"))
    }
}

/// What stock ssh and its like need to reach a node.
pub struct Login {
    pub address: Ipv4Addr,
    pub port: u16,
    pub known_hosts: PathBuf,
    pub key: PathBuf,
    /// What leads there as an option of ssh, where it is not reached directly.
    pub proxy: Option<String>,
}

impl Login {
    /// For `node`: a node's name, an environment's, which means its master, or the default environment's.
    pub fn to(workspace: &Workspace, node: Option<&str>) -> Result<Self> {
        let node = match node {
            Some(name) if workspace.lab.nodes.contains_key(name) => name.to_owned(),
            other => workspace.environment(other)?.master.clone(),
        };
        let keys = workspace.keys()?;
        let address: Ipv4Addr = runtime()?.block_on(async {
            let host = drivers::node::observe(&workspace.lab).await?.facts;
            let (_, addresses) = workspace.addresses(&host)?;
            let running = host.nodes.get(&node).is_some_and(|node| node.running);
            addresses.get(&node).copied().filter(|_| running).ok_or_else(|| {
                let is = if running { "has no address yet" } else { "does not run" };
                Error::new(Kind::Node, format!("the node `{node}` {is}")).hint("`lap up` starts it")
            })
        })?;
        let way = workspace.lab.nodes.get(&node).map(|node| workspace.way(node, address)).transpose()?;
        // Behind a wire the port is the wire's.
        let port = way.as_ref().map_or(22, |(via, to)| if via.is_some() { 22 } else { to.port() });
        let proxy = way.and_then(|(via, to)| Some(format!("ProxyCommand={}", via?.proxy_command(&to.to_string()))));
        // Written for this one call: what is known is only the key lap gave the node.
        let file = known_hosts_file(workspace);
        let name = format!("{node}.node.{}", workspace.lab.dns.zone);
        let line = known_hosts(&[name], &[IpAddr::V4(address)], port, keys.host_key(&node)?.public())?;
        let old = read(&file)?.unwrap_or_default();
        if !old.lines().any(|old| old == line.trim()) {
            lap_base::durable::write_file(&file, format!("{old}{}\n", line.trim()).as_bytes(), 0o644)?;
        }
        Ok(Self { address, port, known_hosts: file, key: keys.admin_file(), proxy })
    }
}

/// Replaces this process by ssh to a node; comes back only if that failed.
pub fn ssh(workspace: &Workspace, node: Option<&str>, terminal: bool, command: &[String]) -> Result<std::io::Error> {
    let Login { address, port, known_hosts, key, proxy } = Login::to(workspace, node)?;
    Ok(Command::new("ssh")
        .args(["-F", "none", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR"])
        .arg("-o")
        .arg(format!("UserKnownHostsFile={}", known_hosts.display()))
        .arg("-i")
        .arg(key)
        .args(["-p", &port.to_string()])
        .args(proxy.iter().flat_map(|option| ["-o", option]))
        .args(if terminal { &["-t"][..] } else { &[] })
        .arg(format!("root@{address}"))
        .arg("--")
        .args(quoted(command))
        .exec())
}
