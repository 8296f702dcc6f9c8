//! `lap completions`

use std::process::ExitCode;

use lap_base::error::Result;

/// Print a completion script for a shell
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Which shell
    shell: clap_complete::Shell,
}

impl Args {
    pub fn run(self, mut command: clap::Command) -> Result<ExitCode> {
        clap_complete::generate(self.shell, &mut command, "lap", &mut std::io::stdout());
        Ok(ExitCode::SUCCESS)
    }
}
