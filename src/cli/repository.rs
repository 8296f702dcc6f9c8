//! `lap repository`

use crate::report::print::outln;
use std::process::ExitCode;

use clap::Subcommand;

use super::{Global, common::PassphraseFrom};
use crate::{
    apply::repository::{Made, Place, change_passphrase},
    error::{Error, Kind, Result},
};

/// The repositories that snapshots are copied to: make them, set their passphrase
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Make one, which the lab's keys open, and a passphrase: with it and the repository alone, `lap recover` makes the lab anew
    ///
    /// A lab has one passphrase for all of them; the first `init` sets it.
    Init {
        /// A repository of lap.toml, a path of this machine, `sftp:user@host:path` or `s3:host/bucket/folder` [default: the only one of lap.toml]
        repository: Option<String>,
        #[command(flatten)]
        passphrase: PassphraseFrom,
    },
    /// Set another passphrase, for the lab and its repositories; the one before opens none of these any more
    Passphrase {
        /// Repositories, as in `init` [default: all of lap.toml]
        repositories: Vec<String>,
        #[command(flatten)]
        passphrase: PassphraseFrom,
    },
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        match self.verb {
            Verb::Init { repository, passphrase } => {
                let place = Place::of(&workspace, repository.as_deref())?;
                let new = !crate::keys::recovery::has_passphrase(&workspace.lab.root);
                let (name, made) = (&place.name, place.init(&passphrase.resolve(new)?)?);
                match made {
                    Made::New => {
                        outln!("`{name}` is there. `lap snapshot copy --to {name}` sends the newest snapshot.")
                    }
                    Made::Passphrase => outln!("`{name}` was there, and has the passphrase now."),
                    Made::Nothing => outln!("Nothing to do: `{name}` is there, and has a passphrase."),
                }
            }
            Verb::Passphrase { repositories, passphrase } => {
                let places: Vec<Place> = if repositories.is_empty() {
                    Place::all(&workspace)?
                } else {
                    repositories.iter().map(|name| Place::of(&workspace, Some(name))).collect::<Result<_>>()?
                };
                if places.is_empty() {
                    return Err(Error::new(Kind::Usage, "lap.toml names no repository"));
                }
                change_passphrase(&places, &passphrase.resolve(true)?)?;
                let names: Vec<_> = places.iter().map(|place| format!("`{}`", place.name)).collect();
                outln!("{} opens with the new passphrase.", names.join(", "));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
