//! `lap destroy`

use std::process::ExitCode;

use super::{Global, common::Changing, prompt, tables};
use crate::{
    apply::down::destroy,
    error::{Error, Kind, Result},
};

/// Remove an environment's nodes with all their data
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The environment; it has no default
    environment: String,
    /// The name of the environment again, instead of the question
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    #[command(flatten)]
    changing: Changing,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let environment = workspace.environment(Some(&self.environment))?.clone();
        let confirmed = match self.confirm {
            _ if self.changing.dry_run => environment.name.clone(),
            Some(name) => name,
            None => ask(&workspace.lab.name, &environment.name)?,
        };
        if confirmed != environment.name {
            return Err(Error::new(
                Kind::Refused,
                format!("`{confirmed}` is not `{}`: nothing was removed", environment.name),
            )
            .hint(format!("confirm with `--confirm {}`", environment.name)));
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

fn ask(lab: &str, environment: &str) -> Result<String> {
    prompt::answer(
        &format!("This removes all data of `{environment}` of the lab `{lab}`. Type its name:"),
        "`lap destroy` needs the environment's name as a confirmation",
        &format!("confirm with `--confirm {environment}`"),
    )
}
