//! `lap keys`

use crate::report::print::{out, outln};
use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;

use super::{Global, common::print_json};
use crate::{
    config,
    error::{Error, Kind, OrError, Result},
    keys::{self, Keys, Passphrase, Secret},
    report::{plural, table::table},
};

/// The lab's keys: make, list, move them
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Make the keys of a new lab; what is there is never replaced
    New,
    /// List the keys with their fingerprints
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Write all keys into one file, encrypted under a passphrase (age's format: stock `age -d` opens it)
    Export {
        /// The new file
        file: PathBuf,
        #[command(flatten)]
        passphrase: PassphraseFrom,
    },
    /// Take over keys that a colleague exported; others are never replaced
    Import {
        /// What `lap keys export` wrote
        file: PathBuf,
        #[command(flatten)]
        passphrase: PassphraseFrom,
    },
}

#[derive(clap::Args, Debug)]
struct PassphraseFrom {
    /// Read the passphrase from this file's first line [default: ask]
    #[arg(long, value_name = "FILE", env = "LAP_PASSPHRASE_FILE", hide_env_values = true)]
    passphrase_file: Option<PathBuf>,
}

impl PassphraseFrom {
    fn resolve(&self, new: bool) -> Result<Passphrase> {
        let mut prompt = |what: &str| {
            let typed = rpassword::prompt_password(format!("{what}: "));
            typed.map(Secret::new).or_error(Kind::Host, || "cannot read the passphrase".into())
        };
        let terminal = std::io::stdin().is_terminal();
        let prompt: Option<keys::Prompt<'_>> = if terminal { Some(&mut prompt) } else { None };
        Passphrase::resolve(self.passphrase_file.as_deref(), None, prompt, new)
    }
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let root = config::find(&global.start()?)?;
        match self.verb {
            Verb::New => new(&root, global)?,
            Verb::List { json } => list(&root, json || global.json())?,
            Verb::Export { file, passphrase } => {
                // Before the question: there may be nothing to export.
                Keys::open(&root)?;
                keys::export(&root, &file, &passphrase.resolve(true)?)?;
                outln!("All keys are in `{}`. `lap keys import` in another checkout takes them over.", file.display());
            }
            Verb::Import { file, passphrase } => {
                let imported = keys::import(&root, &file, &passphrase.resolve(false)?)?;
                if imported.added.is_empty() {
                    outln!("Nothing to do: these keys are here already.");
                } else {
                    outln!("{} taken over.", plural(imported.added.len(), "key file"));
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn new(root: &Path, global: &Global) -> Result<()> {
    let lab = config::load(root, global.lab.as_deref())?;
    let environments: Vec<String> = lab.environments.keys().cloned().collect();
    let created = Keys::create(root, &lab.name, &lab.dns.zone, &environments)?;
    if created.made.is_empty() {
        outln!("Nothing to do: all keys are there.");
    } else {
        outln!(
            "{} made in .lap/keys. `lap keys export FILE` keeps a copy elsewhere.",
            plural(created.made.len(), "key file")
        );
    }
    Ok(())
}

fn list(root: &Path, json: bool) -> Result<()> {
    let keys = Keys::open(root)?.list()?;
    if json {
        return print_json(&keys);
    }
    let rows: Vec<[String; 4]> = keys
        .into_iter()
        .map(|key| [key.name, key.what, key.ends.unwrap_or_else(|| "-".into()), key.fingerprint])
        .collect();
    out!("{}", table(["KEY", "FOR", "ENDS", "FINGERPRINT"], &rows));
    if rows.is_empty() {
        return Err(Error::new(Kind::Keys, "there are no keys").hint("`lap keys new`"));
    }
    Ok(())
}
