//! `lap init`

use crate::report::print::outln;
use std::{path::PathBuf, process::ExitCode};

use super::Global;
use crate::{
    config,
    error::{Error, Kind, Result},
    keys::Keys,
};

/// Write a new workspace, with keys
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The directory; made if it is not there
    dir: PathBuf,
    /// The lab's name [default: the directory's]
    #[arg(long)]
    name: Option<String>,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let dir = global.start()?.join(&self.dir);
        let name = self.name.or_else(|| dir.file_name().map(|name| name.to_string_lossy().into_owned()));
        let name = name.ok_or_else(|| {
            Error::new(Kind::Usage, format!("`{}` has no name a lab could have", self.dir.display()))
                .hint("`--name NAME` names it")
        })?;
        let written = config::init(&dir, &name)?;
        let lab = config::load(&dir, None)?;
        let environments: Vec<String> = lab.environments.keys().cloned().collect();
        let created = Keys::create(&dir, &lab.name, &environments)?;
        let (files, keys) = (crate::report::plural(written.len(), "file"), created.made.len());
        outln!("Lab `{name}`: {files} in {}, {keys} key files in .lap/keys (not in git).\n", self.dir.display());
        outln!(
            "Next:\n  cd {}\n  lap up\n  lap keys export FILE    # keep a copy of the keys elsewhere",
            self.dir.display()
        );
        Ok(ExitCode::SUCCESS)
    }
}
