//! `lap check`

use crate::report::print::{out, outln};
use std::process::ExitCode;

use super::{
    Global,
    common::{Changing, print_json},
};
use crate::words;
use crate::{
    agent::protocol::Checked,
    apply::check::check,
    error::{Error, Kind, Result},
    report::table::table,
};

/// Run the checks of the containers (the programs in `containers/<name>/checks/`)
///
/// The exit code is 0 only if every check passes. Checks read and change nothing.
#[derive(clap::Args, Debug)]
#[command(override_usage = "lap check [OPTIONS] [ENVIRONMENT] [CONTAINER]...")]
pub struct Args {
    /// The environment (if it is not the default), then containers [default: all]
    #[arg(value_name = "CONTAINER")]
    what: Vec<String>,
    /// The result as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let named = self.what.first().filter(|first| workspace.lab.environments.contains_key(*first));
        let environment = workspace.environment(named.map(String::as_str))?.clone();
        let containers = &self.what[usize::from(named.is_some())..];
        if let (None, Some(first)) = (named, containers.first())
            && !workspace.lab.containers.contains_key(first)
        {
            return Err(Error::new(Kind::Usage, format!("`{first}` is neither an environment nor a container")));
        }
        workspace.containers(containers)?;
        let list = global.work("check", &Changing::default(), |options| {
            let (workspace, environment) = (workspace.clone(), environment.clone());
            async move { check(workspace, &environment, containers, &options).await }
        })?;
        if self.json || global.json() {
            print_json(&list)?;
        } else {
            print(&list);
        }
        let failed: Vec<String> =
            list.iter().filter(|c| !c.ok).map(|c| format!("`{}` of `{}`", c.check, c.container)).collect();
        if failed.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        let message =
            format!("{} of {} failed: {}", failed.len(), words::plural(list.len(), "check"), failed.join(", "));
        Err(Error::new(Kind::Unhealthy, message))
    }
}

pub fn print(list: &[Checked]) {
    if list.is_empty() {
        return outln!("There are no checks: add programs to `containers/<name>/checks/`, then run `lap up`.");
    }
    let cells: Vec<[String; 4]> = list
        .iter()
        .map(|c| {
            let result = if c.ok { "ok" } else { "FAILED" };
            [c.container.clone(), c.check.clone(), result.to_owned(), words::duration(c.seconds)]
        })
        .collect();
    out!("{}", table(["CONTAINER", "CHECK", "RESULT", "TIME"], &cells));
    for failed in list.iter().filter(|c| !c.ok) {
        outln!("\n`{}` of `{}`:", failed.check, failed.container);
        for line in failed.output.lines() {
            outln!("  | {line}");
        }
    }
}
