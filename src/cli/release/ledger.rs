//! `lap release ledger`

use std::process::ExitCode;

use clap::Subcommand;
use lap_base::{
    error::{Error, Kind, Result},
    words::{ago, plural},
};

use super::ask::ask;
use crate::{
    apply::options::short,
    cli::{common::print_json, global::Global},
    release::SwitchOutcome,
    report::{
        print::{out, outln},
        table::table,
    },
};

/// Show the ledger: who made which release, when, and the result
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: Option<LedgerCommand>,
    /// The environment [default: the one that has `promote_from`]
    #[arg(long = "env", value_name = "ENVIRONMENT", global = true)]
    environment: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum LedgerCommand {
    /// Verify that no line was changed or removed
    Verify {
        /// A hash that a promotion printed; the ledger must contain it
        hash: Option<String>,
    },
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let (name, releases, _) = ask(global, self.environment.as_deref())?;
        let newest = releases.chain.clone().map_err(Error::from);
        if let Some(LedgerCommand::Verify { hash }) = self.what {
            let newest = newest?;
            let known = releases.ledger.iter().map(|entry| entry.previous.as_str()).chain([newest.as_str()]);
            if let Some(hash) = hash
                && !known.filter(|known| !known.is_empty()).any(|known| known == hash)
            {
                return Err(Error::new(Kind::Refused, format!("the ledger of `{name}` has no entry {hash}"))
                    .hint("its end is missing, or the hash belongs to another environment"));
            }
            let count = plural(releases.ledger.len(), "line");
            outln!("The ledger of `{name}` is complete: {count}, the newest {newest}");
            return Ok(ExitCode::SUCCESS);
        }
        if self.json || global.json() {
            print_json(&releases.ledger)?;
        } else if releases.ledger.is_empty() {
            outln!("There was no promotion to `{name}` yet.");
        } else {
            let now = lap_base::clock::now();
            let rows = releases.ledger.iter().map(|entry| {
                let result = match &entry.result {
                    SwitchOutcome::Done => "done".to_owned(),
                    SwitchOutcome::TakenBack { why, .. } => {
                        format!("taken back: {}", why.lines().next().unwrap_or_default())
                    }
                };
                let gap = entry.outage.iter().map(|felt| felt.gap).max();
                let away = gap.or(entry.away).map_or_else(|| "-".into(), |away| format!("{away} ms"));
                [
                    entry.number.to_string(),
                    ago(now - entry.ended),
                    entry.verb.word().to_owned(),
                    entry.release.to_string(),
                    short(&entry.commit),
                    entry.by.clone(),
                    away,
                    result,
                ]
            });
            let rows: Vec<[String; 8]> = rows.collect();
            out!("{}", table(["LINE", "AGE", "WHAT", "RELEASE", "COMMIT", "BY", "AWAY", "RESULT"], &rows));
        }
        newest.map(|_| ExitCode::SUCCESS)
    }
}
