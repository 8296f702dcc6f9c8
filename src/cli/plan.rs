//! `lap plan`

use std::process::ExitCode;

use super::{Global, common::Changing, tables};
use crate::{
    apply::up::{Scope, up},
    error::Result,
};

/// Show what `lap up` would do, and why (same as `lap up --dry-run`)
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The environment [default: `default` in lap.toml]
    environment: Option<String>,
    /// The plan as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let environment = workspace.environment(self.environment.as_deref())?.clone();
        let changing = Changing { dry_run: true, wait: false };
        let outcome = global.work("plan", &changing, |options| {
            let (workspace, environment) = (workspace.clone(), environment.clone());
            async move { up(workspace, &environment, Scope::default(), &options).await }
        })?;
        tables::print_plan(&outcome, self.json || global.json())?;
        Ok(ExitCode::SUCCESS)
    }
}
