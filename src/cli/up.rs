//! `lap up`

use std::process::ExitCode;

use lap_base::{error::Result, words};

use super::{
    common::{Changing, print_json, runtime},
    global::Global,
    tables,
};
use crate::{
    apply::{admits, local, options::Scope, outcome::Outcome, up::up},
    report::print::{errln, out, outln},
    workspace::Workspace,
};

/// Bring an environment up: its nodes, images, containers, certificates and names
///
/// Resources that are already up to date are not touched. You may stop the command at any moment: run it again to continue.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The environment [default: `default` in lap.toml]
    environment: Option<String>,
    /// Every environment, one after the other
    #[arg(long, conflicts_with = "environment")]
    all: bool,
    #[command(flatten)]
    changing: Changing,
    /// The result as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let environments: Vec<_> = if self.all {
            workspace.lab.environments.values().cloned().collect()
        } else {
            vec![workspace.environment(self.environment.as_deref())?.clone()]
        };
        let json = self.json || global.json();
        let mut removed = false;
        let done: Vec<String> = environments.iter().map(|environment| environment.name.clone()).collect();
        for environment in environments {
            let outcome = global.work("up", &self.changing, |options| {
                let (workspace, environment) = (workspace.clone(), environment.clone());
                async move {
                    let outcome = up(workspace, &environment, Scope::default(), &options).await?;
                    if let Some(master) = outcome.master.as_ref().filter(|_| !options.dry_run) {
                        local::write(master).await?;
                    }
                    Ok(outcome)
                }
            })?;
            removed |= !outcome.removed.is_empty();
            if self.changing.dry_run {
                tables::print_plan(&outcome, json)?;
            } else {
                print(&workspace, &environment.name, &outcome, json)?;
            }
        }
        let closed: Vec<&str> =
            if self.changing.dry_run { Vec::new() } else { done.iter().map(String::as_str).collect() };
        let asked = runtime()?.block_on(admits::ask(&workspace, &closed))?;
        admits::sentences(&asked, removed).iter().for_each(|sentence| errln!("{sentence}"));
        Ok(ExitCode::SUCCESS)
    }
}

fn print(workspace: &Workspace, environment: &str, outcome: &Outcome, json: bool) -> Result<()> {
    let facts = outcome.facts.clone().unwrap_or_default();
    let rows = tables::rows(workspace, &facts, outcome.address());
    if json {
        return print_json(&rows);
    }
    for note in &outcome.notes {
        outln!("{note}");
    }
    if outcome.idle() {
        out!("{}", tables::text(&rows));
        return Ok(());
    }
    let steps = outcome.plans.iter().map(|plan| plan.steps.len()).sum();
    outln!("`{environment}` is up: {} in {}.\n", words::plural(steps, "step"), words::duration(outcome.seconds));
    out!("{}", tables::text(&rows));
    if let Some(address) = outcome.address() {
        out!("{}", local::hints(workspace, environment, address, &facts));
    }
    Ok(())
}
