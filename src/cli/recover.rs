//! `lap recover`

use crate::report::print::outln;
use std::{path::PathBuf, process::ExitCode};

use super::{
    Global,
    common::{Changing, PassphraseFrom, print_json},
};
use crate::words;
use crate::{
    apply::recover::{self, Wanted},
    error::{Error, Kind, Result},
};

/// Recover a lab from a repository and its passphrase, on a machine that has nothing else of it
///
/// lap first recovers the workspace and its keys, and then, for each environment, the node, the newest copy of its data, and
/// its containers. After a stop or a kill, run the same command again: it continues. The command never replaces the data of
/// an existing lab: it refuses, and names the nodes it found.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A path of this machine, `sftp:user@host:path` or `s3:host/bucket/folder`
    #[arg(long, value_name = "REPOSITORY")]
    from: String,
    #[command(flatten)]
    passphrase: PassphraseFrom,
    /// The directory for the workspace [default: a directory with the lab's name]
    into: Option<PathBuf>,
    /// Only these environments
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    environments: Vec<String>,
    /// Only the workspace and its keys: no node is made or changed
    #[arg(long, conflicts_with = "environments")]
    workspace_only: bool,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let location = self.from.parse().map_err(|message: String| Error::new(Kind::Usage, message))?;
        let passphrase = self.passphrase.resolve(false)?;
        let here = global.start()?;
        let recovered = global.work("recover", &Changing::default(), |options| {
            let wanted = Wanted {
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
        if global.json() {
            print_json(&recovered)?;
            return Ok(ExitCode::SUCCESS);
        }
        for done in &recovered.environments {
            let (name, id) = (&done.environment, &done.snapshot);
            outln!("Recovered `{name}` from {id}, {}.", words::ago(crate::clock::now() - done.at));
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
