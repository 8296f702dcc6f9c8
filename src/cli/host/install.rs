//! `lap host install`

use std::process::ExitCode;

use lap_base::error::{Error, Kind, Result};

use super::super::{common::Changing, confirm::Confirm};
use crate::{
    apply::host_install::examine,
    cli::global::Global,
    config::{destination, model::Hypervisor},
    drivers::site::Site,
    report::print::outln,
};

/// Prepare a Debian or Ubuntu machine as a host: Vagrant, the hypervisor, and a service that starts nodes after a boot
///
/// The command shows the plan, asks, and installs. You may stop it at any moment and run it again: it skips what is done
/// already. It needs no workspace.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The destination for `ssh`, as in `host` of a node's file: a name in `~/.ssh/config`, `[user@]host`, or
    /// `ssh://[user@]host[:port]` [default: this machine]
    destination: Option<String>,
    /// The hypervisor
    #[arg(long, value_name = "NAME", value_parser = ["libvirt", "virtualbox"], default_value = "libvirt")]
    hypervisor: String,
    /// Show the plan and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    confirm: Confirm,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let wrong = |message| Error::new(Kind::Usage, message);
        let destination = self.destination.as_deref().map(destination).transpose().map_err(wrong)?;
        let site = Site::of(destination.as_deref());
        let name = destination.map_or_else(|| "this machine".to_owned(), |host| format!("`{host}`"));
        let hypervisor = if self.hypervisor == "libvirt" { Hypervisor::Libvirt } else { Hypervisor::Virtualbox };
        let changing = Changing { dry_run: self.dry_run, wait: false };
        let examined = global.work("host install", &changing, |_| examine(site, hypervisor))?;
        if examined.plan.nothing() {
            outln!("Nothing to do: {name} can run nodes.");
            examined.plan.notes.iter().for_each(|note| outln!("  {note}"));
            return Ok(ExitCode::SUCCESS);
        }
        outln!("On {name}:");
        for step in examined.plan.steps.iter().chain(&examined.plan.notes) {
            outln!("  {step}");
        }
        if self.dry_run {
            return Ok(ExitCode::SUCCESS);
        }
        self.confirm.ask("Install this?")?;
        global.work("host install", &changing, |options| async move { examined.install(&options).await })?;
        outln!("{name} can run nodes. `lap doctor` shows what else it needs.");
        Ok(ExitCode::SUCCESS)
    }
}
