//! `lap destroy`

use std::process::ExitCode;

use lap_base::error::Result;

use super::{common::Changing, confirm::Confirm, global::Global, tables};
use crate::apply::down::destroy;

/// Remove an environment's nodes with all their data
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The environment; it has no default
    environment: String,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    changing: Changing,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let environment = workspace.environment(Some(&self.environment))?.clone();
        if !self.changing.dry_run {
            let (lab, name) = (&workspace.lab.name, &environment.name);
            self.confirm.ask_name(&format!("This removes all data of `{name}` of the lab `{lab}`."), name)?;
        }
        let outcome = global.work("destroy", &self.changing, |options| {
            let (workspace, environment) = (workspace.clone(), environment.clone());
            async move { destroy(workspace, &environment, &options).await }
        })?;
        let done = format!("Removed `{}` and its data.", environment.name);
        tables::print_done(&outcome, self.changing.dry_run, global.json(), &done)?;
        Ok(ExitCode::SUCCESS)
    }
}
