//! `lap dns`: one verb a file.

mod add;
mod check;
mod install;
mod key;
mod list;
mod query;
mod rm;
mod serve;
mod target;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::Subcommand;
use lap_base::error::Result;

use super::global::Global;

/// The name server: its names and keys; run one, query it, and make this machine use it
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    List(list::Args),
    Add(add::Args),
    Rm(rm::Args),
    Check(check::Args),
    Key(key::Args),
    Install(install::Args),
    Query(query::Args),
    Serve(serve::Args),
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        match self.verb {
            Verb::List(args) => args.run(global),
            Verb::Add(args) => args.run(global),
            Verb::Rm(args) => args.run(global),
            Verb::Check(args) => args.run(global),
            Verb::Key(args) => args.run(global),
            Verb::Install(args) => args.run(global),
            Verb::Query(args) => args.run(),
            Verb::Serve(args) => args.run(),
        }
    }
}
