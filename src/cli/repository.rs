//! `lap repository`

use std::process::ExitCode;

use clap::Subcommand;
use lap_base::error::{Error, Kind, Result};

use super::{
    common::{PassphraseFrom, print_json},
    global::Global,
};
use crate::{
    apply::repository::{LabRepositories, Layout, Made, change_passphrase},
    report::print::outln,
    workspace::Workspace,
};

/// The repositories for copies of snapshots: list them, make them, set their passphrase
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Make the repositories of a location: one for each environment, and the lab's own for the workspace and the encrypted
    /// keys
    ///
    /// The lab's keys open them, and so does the passphrase: `lap recover` needs only the passphrase and the location. A lab
    /// has one passphrase for all repositories; the first `init` sets it. Existing repositories do not change. If an earlier
    /// version made one repository for all environments, its copies stay readable, and new copies go to the separate ones.
    Init {
        /// A repository of lap.toml, a path of this machine, `sftp:user@host:path` or `s3:host/bucket/folder` [default: the
        /// only one of lap.toml]
        repository: Option<String>,
        #[command(flatten)]
        passphrase: PassphraseFrom,
    },
    /// Set another passphrase for the lab and its repositories; the old one no longer opens them
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
        let Some(verb) = self.verb else { return show(global, &workspace) };
        match verb {
            Verb::Init { repository, passphrase } => {
                let place = LabRepositories::of(&workspace, repository.as_deref())?;
                let new = !crate::keys::recovery::has_passphrase(&workspace.lab.root);
                let (name, made) = (&place.name, place.init(&passphrase.resolve(new)?)?);
                match made {
                    Made::New => {
                        outln!(
                            "Made `{name}`, with a repository for each environment. `lap snapshot copy --to {name}` sends the newest snapshot."
                        )
                    }
                    Made::Passphrase => outln!("`{name}` existed already, and has the passphrase now."),
                    Made::Nothing => outln!("Nothing to do: `{name}` exists, and has a passphrase."),
                }
            }
            Verb::Passphrase { repositories, passphrase } => {
                let places: Vec<LabRepositories> = if repositories.is_empty() {
                    LabRepositories::all(&workspace)?
                } else {
                    repositories
                        .iter()
                        .map(|name| LabRepositories::of(&workspace, Some(name)))
                        .collect::<Result<_>>()?
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

/// What is at each place of lap.toml.
fn show(global: &Global, workspace: &Workspace) -> Result<ExitCode> {
    let places = LabRepositories::all(workspace)?;
    let all = places.iter().map(LabRepositories::layout).collect::<Result<Vec<_>>>()?;
    if global.json() {
        print_json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    if all.is_empty() {
        outln!("lap.toml names no repository.");
    }
    for layout in &all {
        lines(layout).iter().for_each(|line| outln!("{line}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(layout: &Layout) -> Vec<String> {
    let Layout { name, location, parted, shared, environments, missing } = layout;
    let names = |all: &[String]| all.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let init = format!("`lap repository init {name}`");
    let mut lines = vec![match (parted, shared) {
        (true, _) => {
            format!("`{name}` at {location}: the lab's own repository, and one for each of {}", names(environments))
        }
        (false, true) => format!(
            "`{name}` at {location}: one repository that all environments share. The node of each can read and write copies of all; run {init} to make one for each environment, for new copies."
        ),
        (false, false) => format!("`{name}` at {location}: nothing yet; run {init} to make the repositories"),
    }];
    if *parted && !missing.is_empty() {
        lines.push(format!("  {} has none yet: run {init} to make it", names(missing)));
    }
    if *parted && *shared {
        lines.push(
            "  The old repository that all environments shared still exists, only for reading: only a tag says which environment a copy in it belongs to."
                .into(),
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layout_is_said() {
        let layout = |parted: bool, shared: bool, environments: &[&str], missing: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let (environments, missing) = (owned(environments), owned(missing));
            lines(&Layout { name: "office".into(), location: "/srv/lap".into(), parted, shared, environments, missing })
        };
        assert_eq!(layout(false, false, &[], &["test"]).len(), 1);
        let shared = layout(false, true, &[], &["test"]).join("\n");
        assert!(shared.contains("that all environments share") && shared.contains("`lap repository init office`"));
        let parted = layout(true, false, &["prod", "test"], &[]);
        assert_eq!(parted, ["`office` at /srv/lap: the lab's own repository, and one for each of `prod`, `test`"]);
        let both = layout(true, true, &["test"], &["prod"]);
        assert!(
            both.len() == 3 && both[1].contains("`prod` has none yet") && both[2].contains("for reading"),
            "{both:?}"
        );
    }
}
