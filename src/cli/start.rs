//! `lap start`

use std::process::ExitCode;

use lap_base::error::Result;

use super::{address::Addresses, common::Changing, global::Global, tables};
use crate::{
    apply::{options::Scope, up::up},
    config::app_address::KnownApplications,
};

/// Start the containers that ran last, in dependency order, without a build
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
        let scope = Scope { only: containers.into_iter().collect(), as_recorded: true, ..Scope::default() };
        let outcome = global.work("start", &self.changing, |options| {
            let (workspace, environment) = (workspace.clone(), environment.clone());
            async move { up(workspace, &environment, scope, &options).await }
        })?;
        tables::print_done(&outcome, self.changing.dry_run, global.json(), &format!("`{}` runs.", environment.name))?;
        Ok(ExitCode::SUCCESS)
    }
}
