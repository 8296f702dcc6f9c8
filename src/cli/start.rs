//! `lap start`

use std::process::ExitCode;

use super::{Global, common::Changing, tables};
use crate::{
    apply::up::{Scope, up},
    error::Result,
};

/// Start the containers that ran last, in dependency order, without a build
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The environment [default: `default` in lap.toml]
    environment: Option<String>,
    /// Only these containers and their dependencies [default: all]
    containers: Vec<String>,
    #[command(flatten)]
    changing: Changing,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let environment = workspace.environment(self.environment.as_deref())?.clone();
        let scope = Scope { only: self.containers.into_iter().collect(), as_recorded: true, ..Scope::default() };
        let outcome = global.work("start", &self.changing, |options| {
            let (workspace, environment) = (workspace.clone(), environment.clone());
            async move { up(workspace, &environment, scope, &options).await }
        })?;
        tables::print_done(&outcome, self.changing.dry_run, global.json(), &format!("`{}` runs.", environment.name))?;
        Ok(ExitCode::SUCCESS)
    }
}
