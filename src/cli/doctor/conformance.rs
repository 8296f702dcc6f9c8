//! `lap doctor --conformance`

use std::process::ExitCode;

use lap_base::{
    error::{Error, Kind, Result},
    words::{self, plural},
};

use crate::{
    cli::{
        common::{Changing, print_json},
        global::Global,
    },
    config::destination,
    conformance::{
        ScenarioRow,
        bare::Bare,
        conformance,
        scenario::{NAME, On, ScenarioResult},
    },
    report::{
        print::{out, outln},
        table::table,
    },
};

/// Options of the test. Without `conformance` none of them is taken.
#[derive(clap::Args, Debug)]
pub struct Conformance {
    /// Test that a node on this machine can do all that lap needs
    #[arg(long)]
    conformance: bool,
    /// The providers of the nodes to test, separated by commas
    #[arg(long = "provider", value_name = "PROVIDER", default_value = "docker", value_delimiter = ',', requires = "conformance",
          value_parser = ["docker", "libvirt", "virtualbox", "ssh"])]
    providers: Vec<String>,
    /// For `ssh`: a Debian or Ubuntu machine that is not a node, as in `ssh DESTINATION`; lap prepares it, and removes
    /// itself at the end
    #[arg(long, value_name = "DESTINATION", requires = "conformance")]
    machine: Option<String>,
    /// Permit a restart of the machine, in order and as in a power loss; without this, two scenarios are not possible
    #[arg(long, requires = "machine")]
    may_restart: bool,
}

impl Conformance {
    /// The machine for the provider `ssh`.
    fn bare(&self) -> Result<Option<Bare>> {
        let wrong = |message: String| Error::new(Kind::Usage, message);
        match (&self.machine, self.providers.iter().any(|provider| provider == "ssh")) {
            (Some(destination_given), true) => Ok(Some(Bare {
                destination: destination(destination_given).map_err(wrong)?,
                may_restart: self.may_restart,
            })),
            (None, true) => Err(wrong("the provider `ssh` needs `--machine`".into())
                .hint("`--machine DESTINATION` names a machine that is not a node, as in `ssh DESTINATION`")),
            (Some(_), false) => Err(wrong("`--machine` needs the provider `ssh`".into()).hint("`--provider ssh`")),
            (None, false) => Ok(None),
        }
    }

    /// Whether the person asked for the test.
    pub fn is_asked(&self) -> bool {
        self.conformance
    }

    pub fn run(self, global: &Global, json: bool) -> Result<ExitCode> {
        let name = global.lab.clone().unwrap_or_else(|| NAME.to_owned());
        let bare = self.bare()?;
        let mut rows = Vec::new();
        for provider in &self.providers {
            let on = match provider.as_str() {
                "libvirt" => On::Libvirt,
                "virtualbox" => On::Virtualbox,
                "ssh" => On::Ssh,
                _ => On::Docker,
            };
            rows.extend(global.work("doctor --conformance", &Changing::default(), |options| {
                let (name, bare) = (name.clone(), bare.clone().filter(|_| on == On::Ssh));
                async move { conformance(&name, on, bare, &options).await }
            })?);
        }
        if json || global.json() {
            print_json(&rows)?;
        } else {
            print(&rows);
        }
        let amiss = rows.iter().filter(|row| row.ended != ScenarioResult::Passed).count();
        if amiss == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        Err(Error::new(Kind::Unhealthy, format!("{amiss} of {} did not pass", plural(rows.len(), "scenario"))))
    }
}

fn print(rows: &[ScenarioRow]) {
    let cells: Vec<[String; 4]> = rows
        .iter()
        .map(|row| {
            let result = match row.ended {
                ScenarioResult::Passed => "passed",
                ScenarioResult::Failed(_) => "FAILED",
                ScenarioResult::NotPossible(_) => "not possible",
                ScenarioResult::NotTried(_) => "not tried",
            };
            let name = row.provider.name().to_owned();
            [row.scenario.to_owned(), name, result.to_owned(), words::duration(row.seconds)]
        })
        .collect();
    out!("{}", table(["SCENARIO", "PROVIDER", "RESULT", "TIME"], &cells));
    for row in rows {
        let (ScenarioResult::Failed(why) | ScenarioResult::NotPossible(why) | ScenarioResult::NotTried(why)) =
            &row.ended
        else {
            continue;
        };
        outln!("\n`{}` on {}:", row.scenario, row.provider.name());
        for line in why.lines() {
            outln!("  | {line}");
        }
    }
}
