//! `lap conformance`

use std::process::ExitCode;

use super::{
    Global,
    common::{Changing, print_json},
};
use crate::{
    apply::conformance::{Ended, NAME, On, Row, conformance},
    error::{Error, Kind, Result},
    report::{
        self, plural,
        print::{out, outln},
        table::table,
    },
};

/// Try on this machine what must be true of every kind of node, in a lab that is made for it and removed again
///
/// Boot, address, names, ssh, push and pull, snapshot, restore, promotion, halt, boot again, power cut, destroy: the same scenarios for
/// each, with what `lap` itself does. Ends with 0 only if all of them pass; what is not possible here is no pass. Needs no workspace. The
/// lab is called `conformance` (or as `--lab` says); one that is there already is not touched.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What the nodes are
    #[arg(long = "provider", value_name = "WHAT", default_value = "docker", value_delimiter = ',',
          value_parser = ["docker", "libvirt", "virtualbox"])]
    providers: Vec<String>,
    /// The result as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let name = global.lab.clone().unwrap_or_else(|| NAME.to_owned());
        let mut rows = Vec::new();
        for provider in &self.providers {
            let on = match provider.as_str() {
                "libvirt" => On::Libvirt,
                "virtualbox" => On::Virtualbox,
                _ => On::Docker,
            };
            rows.extend(global.work("conformance", &Changing::default(), |options| {
                let name = name.clone();
                async move { conformance(&name, on, &options).await }
            })?);
        }
        if self.json || global.json() {
            print_json(&rows)?;
        } else {
            print(&rows);
        }
        let amiss = rows.iter().filter(|row| row.ended != Ended::Passed).count();
        if amiss == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        Err(Error::new(Kind::Unhealthy, format!("{amiss} of {} did not pass", plural(rows.len(), "scenario"))))
    }
}

fn print(rows: &[Row]) {
    let cells: Vec<[String; 4]> = rows
        .iter()
        .map(|row| {
            let result = match row.ended {
                Ended::Passed => "passed",
                Ended::Failed(_) => "FAILED",
                Ended::NotPossible(_) => "not possible",
                Ended::NotTried(_) => "not tried",
            };
            let name = row.provider.name().to_owned();
            [row.scenario.to_owned(), name, result.to_owned(), report::duration(row.seconds)]
        })
        .collect();
    out!("{}", table(["SCENARIO", "PROVIDER", "RESULT", "TIME"], &cells));
    for row in rows {
        let (Ended::Failed(why) | Ended::NotPossible(why) | Ended::NotTried(why)) = &row.ended else { continue };
        outln!("\n`{}` on {}:", row.scenario, row.provider.name());
        for line in why.lines() {
            outln!("  | {line}");
        }
    }
}
