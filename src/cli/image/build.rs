//! `lap image build`

use std::process::ExitCode;

use lap_base::error::Result;

use crate::{
    apply::{options::Scope, up::up},
    cli::{address::Addresses, common::Changing, global::Global, tables},
    config::app_address::KnownApplications,
};

/// Build images of the working tree on the node without starting a container
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
        let (environment, containers) = self.addresses.find(&workspace, KnownApplications::Workspace)?;
        let scope = Scope { only: containers.into_iter().collect(), build_only: true, ..Scope::default() };
        let outcome = global.work("image build", &self.changing, |options| {
            let (workspace, environment) = (workspace.clone(), environment.clone());
            async move { up(workspace, &environment, scope, &options).await }
        })?;
        tables::print_done(&outcome, self.changing.dry_run, global.json(), "Built.")?;
        Ok(ExitCode::SUCCESS)
    }
}
