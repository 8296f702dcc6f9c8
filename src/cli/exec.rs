//! `lap exec`

use std::{io::IsTerminal, process::ExitCode};

use lap_base::error::{Error, Kind, Result};

use super::{address::OneAddress, global::Global, ssh::ssh};

/// Run a command in a container
#[derive(clap::Args, Debug)]
#[command(override_usage = "lap exec [OPTIONS] <ADDRESS> -- <COMMAND>...")]
pub struct Args {
    #[command(flatten)]
    address: OneAddress,
    /// Run as this user of the container
    #[arg(short, long)]
    user: Option<String>,
    /// The command and its arguments, after `--`
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let (environment, container) = self.address.find(&workspace)?;
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let mut command: Vec<String> =
            ["docker", "exec", if terminal { "-it" } else { "-i" }].map(str::to_owned).into();
        if let Some(user) = self.user {
            command.extend(["--user".to_owned(), user]);
        }
        command.push(format!("infra_{container}"));
        command.extend(self.command);
        let error = ssh(&workspace, Some(&environment.master), terminal, &command)?;
        Err(Error::new(Kind::Host, format!("cannot run `ssh`: {error}")).hint("`sudo apt-get install openssh-client`"))
    }
}
