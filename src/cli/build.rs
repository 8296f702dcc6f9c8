//! `lap build`

use std::process::ExitCode;

use super::{Global, common::Changing, tables};
use crate::{
    apply::up::{Scope, up},
    error::Result,
};

/// Build images of the working tree on the node without starting a container
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
        workspace.containers(&self.containers)?;
        let scope = Scope { only: self.containers.into_iter().collect(), build_only: true, ..Scope::default() };
        let outcome = global.work("build", &self.changing, |options| {
            let (workspace, environment) = (workspace.clone(), environment.clone());
            async move { up(workspace, &environment, scope, &options).await }
        })?;
        tables::print_done(&outcome, self.changing.dry_run, global.json(), "Built.")?;
        Ok(ExitCode::SUCCESS)
    }
}
