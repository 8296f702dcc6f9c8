//! `lap release`

mod ask;
mod ledger;
mod record;

use std::{collections::BTreeSet, process::ExitCode};

use clap::Subcommand;
use lap_base::{error::Result, state::State, words::ago};

use self::ask::ask;
use super::{common::print_json, global::Global, value};
use crate::{
    apply::options::short,
    release::manifest::ReleaseManifest,
    report::{
        print::{out, outln},
        table::table,
    },
};

/// Show the releases of an environment and their ledger; repair the record of a release
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: ReleaseCommand,
}

#[derive(Subcommand, Debug)]
enum ReleaseCommand {
    /// List all releases, the newest last
    List(List),
    /// Show the parts of a release
    Show(Show),
    /// Compare two releases
    Diff(Diff),
    Ledger(ledger::Args),
    Record(record::Args),
}

#[derive(clap::Args, Debug)]
struct List {
    /// The environment [default: the one that has `promote_from`]
    environment: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args, Debug)]
struct Show {
    /// The release's number
    #[arg(value_parser = value::release)]
    release: u64,
    /// The environment [default: the one that has `promote_from`]
    environment: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args, Debug)]
struct Diff {
    /// The older release's number
    #[arg(value_parser = value::release)]
    from: u64,
    /// The newer one's [default: the newest]
    #[arg(value_parser = value::release)]
    to: Option<u64>,
    /// The environment [default: the one that has `promote_from`]
    #[arg(long = "env", value_name = "ENVIRONMENT")]
    environment: Option<String>,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        match self.what {
            ReleaseCommand::List(args) => list(global, args),
            ReleaseCommand::Show(args) => show(global, args),
            ReleaseCommand::Diff(args) => diff(global, args),
            ReleaseCommand::Ledger(args) => args.run(global),
            ReleaseCommand::Record(args) => args.run(global),
        }
    }
}

fn list(global: &Global, args: List) -> Result<ExitCode> {
    let (name, releases, runs) = ask(global, args.environment.as_deref())?;
    if args.json || global.json() {
        print_json(&releases.list)?;
        return Ok(ExitCode::SUCCESS);
    }
    if releases.list.is_empty() {
        outln!("`{name}` has no releases. `lap up {name}` makes the first one.");
        return Ok(ExitCode::SUCCESS);
    }
    let now = lap_base::clock::now();
    let row = |(number, release): (&u64, &State<ReleaseManifest>)| {
        let mark = if runs == Some(*number) { "runs" } else { "" };
        match release {
            State::Value(release) => {
                [number.to_string(), short(&release.commit), ago(now - release.at), release.by.clone(), mark.to_owned()]
            }
            _ => [number.to_string(), "cannot be read".into(), "-".into(), "-".into(), mark.to_owned()],
        }
    };
    let rows: Vec<[String; 5]> = releases.list.iter().map(row).collect();
    out!("{}", table(["RELEASE", "COMMIT", "AGE", "BY", ""], &rows));
    Ok(ExitCode::SUCCESS)
}

fn show(global: &Global, args: Show) -> Result<ExitCode> {
    let (name, releases, runs) = ask(global, args.environment.as_deref())?;
    let release = releases.release(&name, args.release)?;
    if args.json || global.json() {
        print_json(release)?;
        return Ok(ExitCode::SUCCESS);
    }
    let runs = if runs == Some(args.release) { "; it runs now" } else { "" };
    let age = ago(lap_base::clock::now() - release.at);
    outln!("Release {} of `{name}`: commit {}, made {age} ago by {}{runs}", args.release, release.commit, release.by);
    let rows: Vec<[String; 2]> = images(release).map(|(name, image)| [name.to_owned(), image.to_owned()]).collect();
    out!("{}", table(["CONTAINER", "IMAGE"], &rows));
    for entry in releases.ledger.iter().filter(|entry| entry.release == args.release) {
        if let Some(before) = &entry.before {
            outln!("Snapshot {before} has the data before it.");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What runs: by digest, or by what it was built from.
fn images(release: &ReleaseManifest) -> impl Iterator<Item = (&str, &str)> {
    let runs = release.containers.values().filter(|container| container.scale > 0);
    runs.filter_map(|container| {
        let image = release.images.get(&container.name)?;
        Some((container.name.as_str(), image.reference.as_deref().unwrap_or(&image.build)))
    })
}

fn diff(global: &Global, args: Diff) -> Result<ExitCode> {
    let (name, releases, _) = ask(global, args.environment.as_deref())?;
    let newest = releases.list.keys().next_back().copied().unwrap_or_default();
    let (old, new) = (releases.release(&name, args.from)?, releases.release(&name, args.to.unwrap_or(newest))?);
    let names: BTreeSet<&str> = images(old).chain(images(new)).map(|(name, _)| name).collect();
    let built = |release: &ReleaseManifest, name: &str| release.images.get(name).map(|image| image.build.clone());
    let runs = |release: &ReleaseManifest, name: &str| {
        release.containers.get(name).is_some_and(|container| container.scale > 0)
    };
    let mut rows = Vec::new();
    for name in names {
        let what = match (runs(old, name), runs(new, name)) {
            (false, _) => "added".to_owned(),
            (_, false) => "removed".to_owned(),
            _ => {
                let mut what = Vec::new();
                if built(old, name) != built(new, name) {
                    what.push("image");
                }
                if old.containers.get(name) != new.containers.get(name) {
                    what.push("settings");
                }
                what.join(", ")
            }
        };
        if !what.is_empty() {
            rows.push([name.to_owned(), what]);
        }
    }
    outln!("{} -> {}", short(&old.commit), short(&new.commit));
    if old.env != new.env {
        outln!("The files under env/{name} differ.");
    }
    if rows.is_empty() {
        outln!("No container differs.");
    } else {
        out!("{}", table(["CONTAINER", "CHANGED"], &rows));
    }
    Ok(ExitCode::SUCCESS)
}
