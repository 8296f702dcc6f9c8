//! `lap restart`

use std::process::ExitCode;

use lap_base::error::Result;

use super::{address::Addresses, common::Changing, global::Global, tables};
use crate::{
    apply::{options::Scope, up::up},
    config::app_address::KnownApplications,
};

/// Replace containers with new ones from the same images
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    addresses: Addresses,
    #[command(flatten)]
    changing: Changing,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let (environment, containers) = self.addresses.find(&workspace, KnownApplications::Node)?;
        let again = if containers.is_empty() {
            workspace.lab.containers.keys().cloned().collect()
        } else {
            containers.iter().cloned().collect()
        };
        let scope = Scope { only: containers.into_iter().collect(), again, as_recorded: true, ..Scope::default() };
        let outcome = global.work("restart", &self.changing, |options| {
            let (workspace, environment) = (workspace.clone(), environment.clone());
            async move { up(workspace, &environment, scope, &options).await }
        })?;
        tables::print_done(&outcome, self.changing.dry_run, global.json(), "Restarted.")?;
        Ok(ExitCode::SUCCESS)
    }
}
