//! `lap stop`

use std::process::ExitCode;

use lap_base::error::Result;

use super::{address::Addresses, common::Changing, global::Global, tables};
use crate::{apply::down::stop, config::app_address::KnownApplications};

/// Stop and remove containers of an environment. The node keeps running; data and images stay
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
        let only = containers.into_iter().collect();
        let outcome = global.work("stop", &self.changing, |options| {
            let (workspace, environment) = (workspace.clone(), environment.clone());
            async move { stop(workspace, &environment, &only, &options).await }
        })?;
        let done = format!("Stopped. `lap start {}` starts the same containers again.", environment.name);
        tables::print_done(&outcome, self.changing.dry_run, global.json(), &done)?;
        Ok(ExitCode::SUCCESS)
    }
}
