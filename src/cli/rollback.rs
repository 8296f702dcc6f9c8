//! `lap rollback`

use std::process::ExitCode;

use lap_base::error::{Error, Kind, Result};

use super::{
    global::Global,
    promote::{Switching, carry_out},
    value,
};
use crate::apply::promote;

/// Go back to an earlier release: its images, its names, and the data of the containers that change
///
/// lap first takes a snapshot of the present data. If the old release does not become healthy, lap takes everything back.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The release's number (`lap release list` shows them) [default: the one before]
    #[arg(value_parser = value::release)]
    release: Option<u64>,
    /// The environment [default: the one that has `promote_from`]
    #[arg(long, value_name = "ENVIRONMENT")]
    to: Option<String>,
    /// Leave the data as it is
    #[arg(long)]
    keep_data: bool,
    #[command(flatten)]
    switching: Switching,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let environment = super::promote::target(&workspace.lab, self.to.as_deref())?.clone();
        if environment.promote_from.is_none() {
            return Err(Error::new(Kind::Refused, format!("`{}` has no releases", environment.name))
                .hint(format!("use `lap restore latest {}` to restore a snapshot", environment.name)));
        }
        let planned = global.work("rollback", &self.switching.changing(), |options| {
            let (workspace, environment) = (workspace.clone(), environment.clone());
            async move { promote::plan_rollback(workspace, &environment, self.release, self.keep_data, &options).await }
        })?;
        carry_out(global, planned, None, &self.switching, "rollback")
    }
}
