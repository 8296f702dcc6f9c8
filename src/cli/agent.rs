//! `lap agent`: what runs on nodes; not for people.

use std::process::ExitCode;

use clap::Subcommand;

use crate::{agent, repository};

/// On a node: the supervised process
#[derive(clap::Args, Debug)]
#[command(hide = true)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// First process of a `docker` node
    Init,
    /// The agent itself
    Run,
    /// Its child that copies to a repository, and fetches from it
    Repository,
}

impl Args {
    pub fn run(self) -> ExitCode {
        match self.verb {
            Verb::Init => agent::init::run(),
            Verb::Run => agent::boot::run(),
            Verb::Repository => repository::work::run(),
        }
    }
}
