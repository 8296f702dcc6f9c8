//! `lap image`

use crate::report::print::{out, outln};
use std::{collections::BTreeSet, process::ExitCode, sync::Arc, time::Duration};

use clap::Subcommand;

use super::{
    Global,
    common::{Changing, print_json, runtime},
};
use crate::{
    apply::{
        seed,
        up::{Master, short},
    },
    error::Result,
    report::table::table,
};

/// Images on an environment's node
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List the images on the node
    List {
        /// The environment [default: `default` in lap.toml]
        environment: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Copy images from the Docker of this machine to the node over SSH, without a registry
    Seed {
        /// Image names in the Docker of this machine
        #[arg(required = true)]
        images: Vec<String>,
        /// The environment [default: `default` in lap.toml]
        #[arg(short, long)]
        environment: Option<String>,
        #[command(flatten)]
        changing: Changing,
    },
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        match self.verb {
            Verb::List { environment, json } => {
                let environment = workspace.environment(environment.as_deref())?.clone();
                let facts = runtime()?.block_on(async {
                    Master::connect(workspace.clone(), &environment, Duration::from_secs(2)).await?.facts(None).await
                })?;
                if json || global.json() {
                    print_json(&facts.images)?;
                    return Ok(ExitCode::SUCCESS);
                }
                let used: BTreeSet<&str> = facts.containers.iter().map(|fact| fact.image.as_str()).collect();
                let mut rows: Vec<[String; 4]> = Vec::new();
                for image in &facts.images {
                    let id = image.id.trim_start_matches("sha256:");
                    let runs =
                        if used.iter().any(|used| used.contains(&id[..12.min(id.len())])) { "runs" } else { "-" };
                    let pushed = if image.digests.is_empty() { "-" } else { "pushed" };
                    let mut names: Vec<&String> =
                        image.tags.iter().filter(|tag| !tag.starts_with("localhost:")).collect();
                    if names.is_empty() {
                        names.extend(image.tags.first());
                    }
                    let name = names.first().map_or_else(|| "-".into(), |name| (*name).clone());
                    rows.push([name, short(id), runs.into(), pushed.into()]);
                }
                rows.sort();
                out!("{}", table(["IMAGE", "ID", "RUNS", "REGISTRY"], &rows));
            }
            Verb::Seed { images, environment, changing } => {
                let environment = workspace.environment(environment.as_deref())?.clone();
                global.work("image seed", &changing, |options| {
                    let workspace = Arc::clone(&workspace);
                    async move { seed::seed(workspace, &environment, &images, &options).await }
                })?;
                outln!("{}", if changing.dry_run { "Nothing was copied (--dry-run)." } else { "Copied." });
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
