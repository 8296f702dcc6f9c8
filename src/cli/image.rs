//! `lap image`

mod build;
mod list;
mod seed;

use clap::Subcommand;
use lap_base::error::Result;

use std::process::ExitCode;

use super::global::Global;

/// Build images on an environment's node, list them, and copy images to it
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Build(build::Args),
    List(list::Args),
    Seed(seed::Args),
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        match self.verb {
            Verb::Build(args) => args.run(global),
            Verb::List(args) => args.run(global),
            Verb::Seed(args) => args.run(global),
        }
    }
}
