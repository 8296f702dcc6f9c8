//! `lap image seed`

use std::{process::ExitCode, sync::Arc};

use lap_base::error::Result;

use crate::{
    apply::seed,
    cli::{common::Changing, global::Global},
    report::print::outln,
};

/// Copy images from the Docker of this machine to the node over SSH, without a registry
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Image names in the Docker of this machine
    #[arg(required = true)]
    images: Vec<String>,
    /// The environment [default: `default` in lap.toml]
    #[arg(short, long)]
    environment: Option<String>,
    #[command(flatten)]
    changing: Changing,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let environment = workspace.environment(self.environment.as_deref())?.clone();
        global.work("image seed", &self.changing, |options| {
            let (workspace, images) = (Arc::clone(&workspace), &self.images);
            async move { seed::seed(workspace, &environment, images, &options).await }
        })?;
        outln!("{}", if self.changing.dry_run { "Nothing was copied (--dry-run)." } else { "Copied." });
        Ok(ExitCode::SUCCESS)
    }
}
