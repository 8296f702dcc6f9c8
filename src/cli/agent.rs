//! `lap agent`: what runs on nodes; not for people.

use std::process::ExitCode;

use clap::Subcommand;
use lap_base::error::Result;
use lap_repositories as repository;

use super::common;
use crate::{
    agent::{
        self,
        boot::{init, prepare, uninstall},
        copies::child,
    },
    apply,
    report::{ProgressStyle, print::outln},
};

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
    /// Makes this machine a node: what it needs to know is read from standard input
    Prepare,
    /// Makes it none again
    Leave {
        /// The lab whose node this machine is
        lab: String,
        /// Which one
        node: String,
        /// With all data
        #[arg(long)]
        data: bool,
    },
    /// Its child that copies to a repository, and fetches from it
    Repository,
    /// The child of that one, or of `lap recover`, that restores into its working directory and can write nowhere else
    RepositoryRestore,
    /// Its child that builds a commit that was pushed
    Build {
        /// Where the branch is now
        commit: String,
        /// Who pushed
        who: String,
    },
}

impl Args {
    pub fn run(self) -> Result<ExitCode> {
        Ok(match self.verb {
            Verb::Init => init::run(),
            Verb::Run => agent::boot::run(),
            Verb::Prepare => prepare::run(),
            Verb::Leave { lab, node, data } => uninstall::run(&lab, &node, data),
            Verb::Repository => child::run(),
            Verb::RepositoryRestore => repository::restore::run(),
            Verb::Build { commit, who } => build(&commit, who)?,
        })
    }
}

/// What it prints goes to whoever pushed.
fn build(commit: &str, who: String) -> Result<ExitCode> {
    let said = common::watched("push", ProgressStyle::Plain, who, (false, true), |options| async move {
        apply::push::build(commit, &options).await
    })?;
    outln!("{said}");
    Ok(ExitCode::SUCCESS)
}
