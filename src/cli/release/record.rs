//! `lap release record`

use crate::report::print::outln;
use std::process::ExitCode;

use crate::{
    apply::{record, up::short},
    cli::{Global, common::Changing},
    error::Result,
};

/// Write what the node records of a release anew, where it cannot be read
///
/// `state/current.json` on the node says which release runs. If it is damaged or gone, nothing can be changed, and this command writes it
/// anew. It takes the release that the ledger names last from `releases/` or from a snapshot, and refuses if the containers that are there
/// are not those of that release. Nothing that runs is changed, and a file that can be read is left alone.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The release's number [default: the one that runs]
    release: Option<u64>,
    /// The environment [default: the one that has `promote_from`]
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    environment: Option<String>,
    /// Wait while somebody else works on the node
    #[arg(long)]
    wait: bool,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let environment = super::super::promote::target(&workspace.lab, self.environment.as_deref())?.clone();
        let changing = Changing { dry_run: false, wait: self.wait };
        let (release, wrote) = global.work("release record", &changing, |options| {
            let (workspace, environment) = (workspace.clone(), environment.clone());
            async move { record::record(workspace, &environment, self.release, &options).await }
        })?;
        let number = release.release.map_or_else(|| "a working tree".into(), |number| format!("release {number}"));
        if wrote.is_empty() {
            outln!("Nothing to do: {number} ({}) is recorded.", short(&release.commit));
            return Ok(ExitCode::SUCCESS);
        }
        wrote.iter().for_each(|path| outln!("wrote {path}"));
        outln!("{number} ({}) of `{}` is recorded.", short(&release.commit), environment.name);
        Ok(ExitCode::SUCCESS)
    }
}
