//! `lap down`

use std::process::ExitCode;

use lap_base::error::Result;

use super::{common::Changing, global::Global, tables};
use crate::apply::down::down;

/// Stop an environment: its containers, then its nodes. Data and images stay
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The environment [default: `default` in lap.toml]
    environment: Option<String>,
    /// Every environment, one after the other
    #[arg(long, conflicts_with = "environment")]
    all: bool,
    #[command(flatten)]
    changing: Changing,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let environments: Vec<_> = if self.all {
            workspace.lab.environments.values().cloned().collect()
        } else {
            vec![workspace.environment(self.environment.as_deref())?.clone()]
        };
        for environment in environments {
            let outcome = global.work("down", &self.changing, |options| {
                let (workspace, environment) = (workspace.clone(), environment.clone());
                async move { down(workspace, &environment, &options).await }
            })?;
            let done = format!("`{}` is down; its data stays. `lap up {0}` starts it again.", environment.name);
            tables::print_done(&outcome, self.changing.dry_run, global.json(), &done)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
