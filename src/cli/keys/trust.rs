//! `lap keys trust`

use std::{path::Path, process::ExitCode};

use lap_base::error::Result;

use crate::{
    cli::{common::runtime, global::Global},
    drivers,
    keys::trust::{self, machine::TrustInputs},
    names,
    plan::containers::REGISTRY,
    report::print::outln,
    workspace::Workspace,
};

/// Make this machine trust the certificates of the lab: the system store and Docker's `certs.d`
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Undo exactly
    #[arg(long)]
    undo: bool,
    /// Show the plan and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let Self { undo, dry_run } = self;
        let workspace = global.workspace()?;
        let inputs = TrustInputs {
            lab: workspace.lab.name.clone(),
            certificate: workspace.keys()?.root_certificate().to_owned(),
            registries: if undo { Vec::new() } else { registries(&workspace)? },
            undo,
        };
        let root = Path::new("/");
        let facts = trust::observe(root, &inputs)?;
        let changes = trust::plan(&inputs, &facts);
        if changes.is_empty() {
            outln!("Nothing to do.");
            return Ok(ExitCode::SUCCESS);
        }
        for change in &changes {
            outln!("  {change}");
        }
        if !dry_run {
            trust::apply(root, &changes, &mut trust::run_command)?;
            outln!(
                "Done. {}",
                if undo { "This machine no longer trusts the lab." } else { "Undo this with `--undo`." }
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Every environment's registry, by name and by address.
fn registries(workspace: &Workspace) -> Result<Vec<String>> {
    let Some(registry) = workspace.lab.containers.get(REGISTRY) else { return Ok(Vec::new()) };
    let Some(port) = registry.ports.iter().find(|port| port.is_public_tcp()).map(|port| port.host) else {
        return Ok(Vec::new());
    };
    let host =
        runtime()?.block_on(async { drivers::node::observe(&workspace.lab).await.map(|machines| machines.facts) })?;
    let (_, addresses) = workspace.addresses(&host)?;
    let mut out: Vec<String> = registry.names.iter().map(|name| format!("{name}:{port}")).collect();
    for environment in workspace.lab.environments.values() {
        for name in &registry.names {
            let everywhere = names::of_environment(name, &environment.name, &workspace.lab.dns.zone);
            out.extend(everywhere.map(|name| format!("{name}:{port}")));
        }
        // Only of networks that exist: another's addresses may be somebody else's tomorrow.
        if host.subnet.is_some() {
            out.extend(addresses.get(&environment.master).map(|address| format!("{address}:{port}")));
        }
    }
    Ok(out)
}
