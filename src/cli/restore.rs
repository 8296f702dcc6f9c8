//! `lap restore`

use crate::report::print::outln;
use std::process::ExitCode;

use super::{
    Global,
    common::{Changing, print_json, runtime},
    snapshot::{print_differs, short},
};
use crate::{apply::snapshot::Snapshots, error::Result};

/// Go back to a snapshot: all data of an environment; what is there now becomes a snapshot first
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A snapshot (`lap snapshot list` shows them), or `latest`
    snapshot: String,
    /// The environment [default: `default` in lap.toml]
    environment: Option<String>,
    /// Restore the data even if other images ran when it was taken
    #[arg(long)]
    keep_release: bool,
    #[command(flatten)]
    changing: Changing,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let environment = workspace.environment(self.environment.as_deref())?.clone();
        if self.changing.dry_run {
            let differs = runtime()?
                .block_on(async { Snapshots::of(workspace, &environment).await?.diff(&self.snapshot, None).await })?;
            // Seen from the snapshot: what came since would go.
            print_differs(&differs, ["lost", "taken back", "come back"]);
            return Ok(ExitCode::SUCCESS);
        }
        let restored = global.work("restore", &self.changing, |options| {
            let (workspace, environment) = (workspace.clone(), environment.clone());
            let (snapshot, keep_release) = (self.snapshot.clone(), self.keep_release);
            async move {
                Snapshots::of(workspace, &environment).await?.restore(&snapshot, keep_release, &options).await
            }
        })?;
        if global.json() {
            print_json(&restored.kept)?;
            return Ok(ExitCode::SUCCESS);
        }
        outln!(
            "`{}` is as it was in {}; its data was away for {}.",
            environment.name,
            restored.id,
            short(restored.seconds)
        );
        let kept = restored.kept.id;
        outln!("What was there before is {kept}: `lap restore {kept} {}` takes this back.", environment.name);
        Ok(ExitCode::SUCCESS)
    }
}
