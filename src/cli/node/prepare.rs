//! `lap node prepare`

use std::process::ExitCode;

use lap_base::error::Result;

use super::{
    super::{common::Changing, confirm::Confirm},
    find::find,
};
use crate::{apply::machine::examine, cli::global::Global, drivers, keys::Keys, report::print::outln};

/// Prepare a bare Debian or Ubuntu machine as a node: show what to install, ask, install
///
/// You may stop the command at any moment and run it again: it skips what is done already.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A node with `provider = "ssh"`
    node: String,
    /// Show the plan and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    confirm: Confirm,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let node = find(&workspace, &self.node)?;
        let changing = Changing { dry_run: self.dry_run, wait: false };
        let examined = global.work("node prepare", &changing, |_| {
            let (workspace, node) = (workspace.clone(), node.clone());
            async move {
                let lab = &workspace.lab;
                let environments: Vec<String> = lab.environments.keys().cloned().collect();
                workspace.keys()?;
                let keys = Keys::create(&lab.root, &lab.name, &lab.dns.zone, &environments)?.keys;
                let facts = drivers::node::observe(lab).await?.facts;
                let (_, addresses) = workspace.addresses(&facts)?;
                examine(&workspace, &keys, &node, &addresses).await.map(|examined| (keys, examined))
            }
        })?;
        let (keys, examined) = examined;
        if examined.plan.nothing() {
            outln!("Nothing to do: `{}` is prepared.", node.name);
            return Ok(ExitCode::SUCCESS);
        }
        outln!("On `{}`:", node.name);
        for step in examined.plan.steps.iter().chain(&examined.plan.notes) {
            outln!("  {step}");
        }
        if self.dry_run {
            return Ok(ExitCode::SUCCESS);
        }
        self.confirm.ask("Install this?")?;
        global.work("node prepare", &changing, |options| {
            let (workspace, name) = (workspace.clone(), node.name.clone());
            async move { examined.prepare(&workspace, &keys, &name, &options).await }
        })?;
        outln!("`{}` is prepared. `lap up {}` starts its environment.", node.name, node.environment);
        Ok(ExitCode::SUCCESS)
    }
}
