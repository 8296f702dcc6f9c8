//! `lap recover`

mod drill;

use std::{path::PathBuf, process::ExitCode};

use drill::DrillArgs;
use lap_base::{
    error::{Error, Kind, Result},
    words,
};

use super::{
    common::{Changing, PassphraseFrom, print_json},
    global::Global,
};
use crate::{
    apply::recover::{self, RecoveryOptions},
    report::print::outln,
};

/// Recover a lab from a repository and its passphrase, on a machine that has nothing else of the lab
///
/// lap writes the workspace and its keys first. Then it recovers each environment: the node, the newest copy of its data, its containers.
/// You may stop or kill the command at any moment: run it again to continue. lap never replaces the data of a lab that exists: it refuses
/// and names the nodes that it found.
///
/// With `--drill`, lap tests whether an environment can be recovered from its newest copy: in a lab that it makes for the drill beside the
/// real one, it restores the copy, starts the containers, waits until they are healthy, runs their checks, and removes the lab. It prints
/// how long that took and which changes a disaster would lose. `lap status` shows the last drill.
#[derive(clap::Args, Debug)]
#[command(
    override_usage = "lap recover [OPTIONS] --from <REPOSITORY> [DIRECTORY]\n       lap recover [OPTIONS] --drill [ENVIRONMENT]"
)]
pub struct Args {
    /// The repository: a path of this machine, `sftp:user@host:path` or `s3:host/bucket/folder`; for `--drill`, as in
    /// `lap snapshot copy --to`
    #[arg(long, value_name = "REPOSITORY", required_unless_present = "drill")]
    from: Option<String>,
    #[command(flatten)]
    passphrase: PassphraseFrom,
    /// The directory of the workspace [default: the name of the lab]
    #[arg(value_name = "DIRECTORY")]
    into: Option<PathBuf>,
    /// Only these environments
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    environments: Vec<String>,
    /// Only the workspace and its keys: no node is made or changed
    #[arg(long, conflicts_with = "environments")]
    workspace_only: bool,
    /// Test whether this environment can be recovered [default: `default` in lap.toml]
    #[arg(long, value_name = "ENVIRONMENT", num_args = 0..=1, conflicts_with_all = ["into", "environments", "workspace_only"])]
    drill: Option<Option<String>>,
    /// For `--drill`: this copy instead of the newest
    #[arg(long, value_name = "SNAPSHOT", default_value = "latest", requires = "drill")]
    snapshot: String,
    /// The result as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        if let Some(environment) = self.drill {
            let Self { from, snapshot, json, .. } = self;
            return DrillArgs { environment, from, snapshot, json }.run(global);
        }
        let from = self.from.unwrap_or_default();
        let location = from.parse().map_err(|message: String| Error::new(Kind::Usage, message))?;
        let passphrase = self.passphrase.resolve(false)?;
        let here = global.start()?;
        let recovered = global.work("recover", &Changing::default(), |options| {
            let wanted = RecoveryOptions {
                location,
                passphrase: passphrase.clone(),
                here: here.clone(),
                into: self.into.clone(),
                lab: global.lab.clone(),
                environments: self.environments.clone(),
                workspace_only: self.workspace_only,
            };
            async move { recover::recover(wanted, &options).await }
        })?;
        if self.json || global.json() {
            print_json(&recovered)?;
            return Ok(ExitCode::SUCCESS);
        }
        for done in &recovered.environments {
            let (name, id) = (&done.environment, &done.snapshot);
            outln!("Recovered `{name}` from {id}, {}.", words::ago(lap_base::clock::now() - done.at));
        }
        outln!(
            "The workspace and its keys are in `{}`. Total time: {}.",
            recovered.workspace.display(),
            words::duration(recovered.seconds)
        );
        if let Some(lab) = &recovered.lab {
            outln!("Its lap.toml has the old lab name: set `lab = \"{lab}\"`, or use `--lab {lab}` with each command.");
        }
        Ok(ExitCode::SUCCESS)
    }
}
