//! `lap host`

mod install;

use std::process::ExitCode;

use clap::Subcommand;
use lap_base::error::Result;

use super::global::Global;

/// Hosts that run nodes as virtual machines
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Install(install::Args),
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        match self.verb {
            Verb::Install(args) => args.run(global),
        }
    }
}
