//! `lap restart`

use std::process::ExitCode;

use super::{Global, common::Changing, tables};
use crate::{
    apply::up::{Scope, up},
    error::Result,
};

/// Replace containers with new ones from the same images
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The environment [default: `default` in lap.toml]
    environment: Option<String>,
    /// Only these containers [default: all]
    containers: Vec<String>,
    #[command(flatten)]
    changing: Changing,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let environment = workspace.environment(self.environment.as_deref())?.clone();
        let again = if self.containers.is_empty() {
            workspace.lab.containers.keys().cloned().collect()
        } else {
            self.containers.iter().cloned().collect()
        };
        let scope = Scope { only: self.containers.into_iter().collect(), again, as_recorded: true, ..Scope::default() };
        let outcome = global.work("restart", &self.changing, |options| {
            let (workspace, environment) = (workspace.clone(), environment.clone());
            async move { up(workspace, &environment, scope, &options).await }
        })?;
        tables::print_done(&outcome, self.changing.dry_run, global.json(), "Restarted.")?;
        Ok(ExitCode::SUCCESS)
    }
}
