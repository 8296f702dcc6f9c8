//! `lap node`

mod add;
mod image;
mod list;
mod prepare;
mod rm;

use std::process::ExitCode;

use clap::Subcommand;

use super::Global;
use crate::{
    config::{model::Node, problem::guess},
    error::{Error, Kind, Result},
    workspace::Workspace,
};

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

fn find(workspace: &Workspace, name: &str) -> Result<Node> {
    workspace.lab.nodes.get(name).cloned().ok_or_else(|| {
        let known = workspace.lab.nodes.keys().cloned().collect::<Vec<_>>().join("`, `");
        let meant = guess(name, workspace.lab.nodes.keys().map(String::as_str));
        let other = "`lap node list` shows all nodes; `lap node add` adds an existing machine";
        Error::new(Kind::Usage, format!("there is no node `{name}`: the nodes are `{known}`"))
            .hint(meant.unwrap_or_else(|| other.into()))
    })
}
