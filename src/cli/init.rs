//! `lap init`

use std::{path::PathBuf, process::ExitCode};

use lap_base::{
    error::{Error, Kind, Result},
    words::plural,
};

use super::global::Global;
use crate::{config, keys::Keys, report::print::outln};

/// Write a new workspace, with keys
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The directory; created if it does not exist
    dir: PathBuf,
    /// The lab's name [default: the directory's]
    #[arg(long)]
    name: Option<String>,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let dir = global.start()?.join(&self.dir);
        let named = self.name.is_some();
        let name = self.name.or_else(|| dir.file_name().map(|name| name.to_string_lossy().into_owned()));
        let name = name.ok_or_else(|| {
            Error::new(Kind::Usage, format!("the name of `{}` is not valid for a lab", self.dir.display()))
                .hint("choose a name with `--name NAME`")
        })?;
        let written = config::init(&dir, &name).map_err(|error| match error.kind {
            Kind::Usage if !named => error.hint("choose another name with `--name NAME`"),
            _ => error,
        })?;
        let lab = config::load(&dir, None)?;
        let environments: Vec<String> = lab.environments.keys().cloned().collect();
        let created = Keys::create(&dir, &lab.name, &lab.dns.zone, &environments)?;
        let (files, keys) = (plural(written.len(), "file"), created.made.len());
        outln!(
            "Lab `{name}`: {files} in {}, {} in .lap/keys (not in git).\n",
            self.dir.display(),
            plural(keys, "key file")
        );
        outln!("Next:");
        if dir.canonicalize().ok() != std::env::current_dir().ok() {
            outln!("  cd {}", self.dir.display());
        }
        outln!("  lap up\n  lap keys export FILE    # keep a copy of the keys in another place");
        Ok(ExitCode::SUCCESS)
    }
}
