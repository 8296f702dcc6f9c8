//! `lap image list`

use std::{collections::BTreeSet, process::ExitCode, time::Duration};

use lap_base::error::Result;

use crate::{
    apply::{options::short, up::Master},
    cli::{
        common::{print_json, runtime},
        global::Global,
    },
    report::{print::out, table::table},
};

/// List the images on the node
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The environment [default: `default` in lap.toml]
    environment: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let environment = workspace.environment(self.environment.as_deref())?.clone();
        let facts = runtime()?.block_on(async {
            Master::connect(workspace.clone(), &environment, Duration::from_secs(2)).await?.node.facts(None).await
        })?;
        if self.json || global.json() {
            print_json(&facts.images)?;
            return Ok(ExitCode::SUCCESS);
        }
        let used: BTreeSet<&str> = facts.containers.iter().map(|fact| fact.image.as_str()).collect();
        let mut rows: Vec<[String; 4]> = Vec::new();
        for image in &facts.images {
            let id = image.id.trim_start_matches("sha256:");
            let runs = if used.iter().any(|used| used.contains(&id[..12.min(id.len())])) { "runs" } else { "-" };
            let pushed = if image.digests.is_empty() { "-" } else { "pushed" };
            let mut names: Vec<&String> = image.tags.iter().filter(|tag| !tag.starts_with("localhost:")).collect();
            if names.is_empty() {
                names.extend(image.tags.first());
            }
            let name = names.first().map_or_else(|| "-".into(), |name| (*name).clone());
            rows.push([name, short(id), runs.into(), pushed.into()]);
        }
        rows.sort();
        out!("{}", table(["IMAGE", "ID", "RUNS", "REGISTRY"], &rows));
        Ok(ExitCode::SUCCESS)
    }
}
