//! `lap keys`

mod trust;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;
use lap_base::{
    error::{Error, Kind, Result},
    words::plural,
};

use super::{
    common::{PassphraseFrom, print_json},
    global::Global,
};
use crate::{
    config,
    keys::{self, Keys},
    report::{
        print::{out, outln},
        table::table,
    },
};

/// The lab's keys: make, list and move them; make this machine trust the lab's certificates
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Make missing keys, and renew certificates that expire within a year; existing keys are never replaced
    New,
    /// List the keys with their fingerprints
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Write all keys into one file, encrypted with a passphrase (in age's format: `age -d` opens it)
    Export {
        /// The new file
        file: PathBuf,
        #[command(flatten)]
        passphrase: PassphraseFrom,
    },
    /// Import keys that a colleague exported; different keys are never replaced
    Import {
        /// What `lap keys export` wrote
        file: PathBuf,
        #[command(flatten)]
        passphrase: PassphraseFrom,
    },
    Trust(trust::Args),
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let root = || config::find(&global.start()?);
        match self.verb {
            Verb::Trust(args) => return args.run(global),
            Verb::New => new(&root()?, global)?,
            Verb::List { json } => list(&root()?, json || global.json())?,
            Verb::Export { file, passphrase } => {
                let root = root()?;
                // Before the question: there may be nothing to export.
                Keys::open(&root)?;
                keys::export(&root, &file, &passphrase.resolve(true)?)?;
                outln!(
                    "All keys are in `{}`. Use `lap keys import` in another checkout to install them.",
                    file.display()
                );
            }
            Verb::Import { file, passphrase } => {
                let imported = keys::import(&root()?, &file, &passphrase.resolve(false)?)?;
                if imported.added.is_empty() {
                    outln!("Nothing to do: these keys exist already.");
                } else {
                    outln!("Imported {}.", plural(imported.added.len(), "key file"));
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
    let signed = Keys::renew(root, &lab.dns.zone)?;
    if !signed.is_empty() {
        outln!("Signed again: `{}`.", signed.join("`, `"));
        outln!("Next: `lap up --all`, and `lap keys export` for each colleague.");
        if signed.iter().any(|file| file == "root.crt") {
            outln!("Then `lap keys trust` on each machine that trusts the lab.");
        }
    }
    if created.made.is_empty() && signed.is_empty() {
        outln!("Nothing to do: all keys exist.");
    } else if !created.made.is_empty() {
        outln!(
            "Made {} in .lap/keys. `lap keys export FILE` keeps a copy in another place.",
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
