//! Machines that lap did not make: they become nodes (`lap node prepare`) and cease to be nodes.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use lap_base::error::{Error, Kind, OrError, Result};

use super::{
    joining::{binary, order, ready},
    options::Options,
};
use crate::{
    config::model::Node,
    drivers::{
        node::{
            machine::{self, MachineProbe},
            vm::{foreign, spec::VmSpec},
        },
        stock_ssh::StockSsh,
    },
    keys::Keys,
    plan::prepare::{DesiredMachine, Prepare, prepare as plan},
    report::LineSink,
    wire::machine::config_text,
    workspace::Workspace,
};

/// How long the agent may take until Docker answers.
const BOOT: Duration = Duration::from_secs(120);
/// Where the binary lies until it has put itself in its place. Only root may write there.
const UPLOAD: &str = "umask 077 && mkdir -p /var/lib/lap && cat >/var/lib/lap/prepare.lap-new && \
                      chmod 755 /var/lib/lap/prepare.lap-new && mv /var/lib/lap/prepare.lap-new /var/lib/lap/prepare";
/// Packages are read from stdin: no name becomes a part of a shell's line. Without systemd their daemons are not started
/// (invoke-rc.d(8) takes it for single-user mode): the agent starts what it needs. What a lap began that was killed goes on to its
/// end, and is waited for.
pub(super) const INSTALL: &str = "export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 && \
                                  flock -o -w 900 /run/lap-install.lock sh -c 'apt-get -qq update && \
                                  xargs apt-get -qq -y -o DPkg::Lock::Timeout=600 --no-install-recommends install'";

/// A machine that was looked at, and what it takes.
pub struct ExaminedMachine {
    machine: StockSsh,
    look: MachineProbe,
    binary: Vec<u8>,
    order: Vec<u8>,
    /// Where it listens, for the error message of one that does not answer.
    address: Ipv4Addr,
    pub plan: Prepare,
}

/// Looks at a machine and plans what makes it a node. Changes nothing there.
///
/// # Errors
/// It does not answer, or cannot be this node.
pub async fn examine(
    workspace: &Workspace,
    keys: &Keys,
    node: &Node,
    addresses: &BTreeMap<String, Ipv4Addr>,
) -> Result<ExaminedMachine> {
    examine_at(stock_ssh(workspace, node)?, workspace, keys, node, addresses).await
}

async fn examine_at(
    machine: StockSsh,
    workspace: &Workspace,
    keys: &Keys,
    node: &Node,
    addresses: &BTreeMap<String, Ipv4Addr>,
) -> Result<ExaminedMachine> {
    let order = order(workspace, keys, node, addresses)?;
    let device = order.config.device.clone();
    let look = machine::probe_machine(&machine, device.as_deref()).await?;
    let (config, binary) = (machine::sum(&config_text(&order.config)?), binary()?);
    let desired = DesiredMachine {
        lab: &workspace.lab.name,
        node: &node.name,
        config: &config,
        binary: &machine::sum(&binary),
        arch: std::env::consts::ARCH,
        disk: node.disk,
        device: device.as_deref(),
        filesystem: node.filesystem,
    };
    let plan = plan(&desired, &look)?;
    let address = addresses.get(&node.name).copied().unwrap_or(Ipv4Addr::UNSPECIFIED);
    let order = serde_json::to_vec(&order).or_error(Kind::Other, || "cannot send the request".into())?;
    Ok(ExaminedMachine { machine, look, binary, order, address, plan })
}

/// The way to a machine of the provider `ssh`.
///
/// # Errors
/// It is not one.
pub fn stock_ssh(workspace: &Workspace, node: &Node) -> Result<StockSsh> {
    workspace.stock_ssh(node)?.ok_or_else(|| {
        Error::new(Kind::Usage, format!("lap makes the machine `{}` itself", node.name))
            .hint("`lap node prepare` is for machines with `provider = \"ssh\"`; `lap up` makes the others")
    })
}

impl ExaminedMachine {
    /// Does it. May be killed and done again.
    ///
    /// # Errors
    /// A package cannot be installed, or the agent does not come up.
    pub async fn prepare(&self, workspace: &Workspace, keys: &Keys, node: &str, options: &Options) -> Result<()> {
        let events = options.events.clone();
        self.install(&move |text: &str| events.note(format!("  {text}"))).await?;
        let session = workspace.connect(keys, node, self.address, BOOT).await?;
        ready(&session.agent()).await
    }

    /// The same without waiting until the agent answers.
    async fn install(&self, line: &LineSink<'_>) -> Result<()> {
        let root = self.look.as_root().unwrap_or_default();
        let command = |words: &[&'static str]| [root, words].concat();
        if !self.plan.packages.is_empty() {
            line(&format!("installing {}", self.plan.packages.join(", ")));
            let names = self.plan.packages.join("\n");
            self.machine.done("install packages", &command(&["sh", "-c", INSTALL]), names.as_bytes(), &|_| {}).await?;
        }
        if self.plan.order {
            self.machine.done("install lap", &command(&["sh", "-c", UPLOAD]), &self.binary, &|_| {}).await?;
            let run = command(&["/var/lib/lap/prepare", "agent", "prepare"]);
            self.machine.done("prepare", &run, &self.order, line).await?;
            self.machine.done("clean up", &command(&["rm", "-f", "/var/lib/lap/prepare"]), &[], &|_| {}).await?;
        }
        Ok(())
    }
}

/// Makes a machine that Vagrant made from a box of others the node, or brings it up to date after its start: as a machine that exists, only
/// that it is reached as Vagrant reaches it.
///
/// # Errors
/// It cannot be logged in to, cannot be a node, or what has to be done there fails.
pub async fn take_in(
    workspace: &Workspace,
    keys: &Keys,
    node: &Node,
    spec: &VmSpec,
    addresses: &BTreeMap<String, Ipv4Addr>,
    line: &LineSink<'_>,
) -> Result<()> {
    let machine = foreign::reach(spec, line).await?;
    let examined = examine_at(machine, workspace, keys, node, addresses).await?;
    if examined.look.get("node").is_empty() {
        foreign::close(&examined.machine, examined.look.as_root().unwrap_or_default(), line).await?;
    }
    examined.install(line).await
}

/// Takes lap off a machine; with `data` also the pool.
///
/// # Errors
/// It does not answer, or is another lab's.
pub async fn leave(workspace: &Workspace, node: &Node, data: bool, line: &LineSink<'_>) -> Result<()> {
    let machine = stock_ssh(workspace, node)?;
    let look = machine::probe_machine(&machine, None).await?;
    if look.get("binary").is_empty() && look.get("who").is_empty() {
        return Ok(());
    }
    let root = look.as_root().ok_or_else(|| {
        Error::new(
            Kind::Node,
            format!("no root access on `{}`: log in as root, or as a user with `sudo` without a password", node.name),
        )
    })?;
    let mut command = [root, &["/usr/local/bin/lap", "agent", "leave", &workspace.lab.name, &node.name][..]].concat();
    if data {
        command.push("--data");
    }
    machine.done("remove lap", &command, &[], line).await.map(drop)
}
