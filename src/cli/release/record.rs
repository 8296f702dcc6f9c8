//! `lap release record`

use std::process::ExitCode;

use lap_base::error::Result;

use crate::{
    apply::{options::short, record},
    cli::{common::Changing, global::Global, value},
    report::print::outln,
};

/// Write a node's record of a release again, if the record cannot be read
///
/// `state/current.json` on the node records which release runs. While that file is damaged or missing, other commands refuse
/// to change anything. This command takes the newest release in the ledger from `releases/` or from a snapshot, and writes
/// the file again. It refuses if containers on the node belong to another release. It changes nothing that runs, and no
/// readable file.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The release's number [default: the one that runs]
    #[arg(value_parser = value::release)]
    release: Option<u64>,
    /// The environment [default: the one that has `promote_from`]
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    environment: Option<String>,
    /// Wait until the lock of the node is free
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
        wrote.iter().for_each(|path| outln!("Wrote {path}."));
        outln!("The record of `{}` names {number} ({}).", environment.name, short(&release.commit));
        Ok(ExitCode::SUCCESS)
    }
}
