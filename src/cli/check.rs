//! `lap check`

use std::process::ExitCode;

use lap_base::{
    error::{Error, Kind, Result},
    words,
};

use super::{
    address::Addresses,
    common::{Changing, print_json},
    global::Global,
};
use crate::{
    apply::check::check,
    config::app_address::KnownApplications,
    report::{
        print::{out, outln},
        table::table,
    },
    wire::protocol::CheckResult,
};

/// Run the checks of the containers (the programs in `containers/<name>/checks/`)
///
/// The exit code is 0 only if every check passes. Checks read and change nothing.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    addresses: Addresses,
    /// The result as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let (environment, containers) = self.addresses.find(&workspace, KnownApplications::Workspace)?;
        let containers = &containers;
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

pub fn print(list: &[CheckResult]) {
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
