//! `lap node`

mod add;
mod find;
mod image;
mod list;
mod prepare;
mod rm;

use std::process::ExitCode;

use clap::Subcommand;
use lap_base::error::Result;

use super::global::Global;

/// List machines; add machines that already exist (`provider = "ssh"`)
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Add(add::Args),
    Prepare(prepare::Args),
    List(list::Args),
    Rm(rm::Args),
    Image(image::Args),
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        match self.verb {
            Verb::Add(args) => args.run(global),
            Verb::Prepare(args) => args.run(global),
            Verb::List(args) => args.run(global),
            Verb::Rm(args) => args.run(global),
            Verb::Image(args) => args.run(global),
        }
    }
}
