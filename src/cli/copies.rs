//! The parts of `lap snapshot` and `lap restore` that are about copies in repositories.

pub mod args;
mod due;
mod gone;

use std::{process::ExitCode, sync::Arc};

use lap_base::{
    clock::now,
    error::{Error, Kind, Result},
    words::{ago, bytes, plural},
};
use lap_repositories::Depth;
use lap_snapshots::{Id, order::is_ahead};
use serde::Serialize;

use super::{
    common::{Changing, print_json},
    global::Global,
    snapshot::texts::short,
};
use crate::{
    apply::{
        options::Options,
        repository::{Fetched, LabRepositories},
        snapshot::Snapshots,
    },
    report::{
        print::{out, outln},
        table::table,
    },
    workspace::Workspace,
};

use self::args::CopyArgs;
pub use gone::{prune, remove};

/// What `lap snapshot fetch` is given.
#[derive(clap::Args, Debug)]
pub struct FetchArgs {
    /// A snapshot (`lap snapshot list --from` shows them), or `latest`
    snapshot: String,
    /// The environment [default: `default` in lap.toml]
    environment: Option<String>,
    /// A repository, as in `lap snapshot copy --to`
    #[arg(long, value_name = "REPOSITORY")]
    from: Option<String>,
}

/// What `lap snapshot verify` is given.
#[derive(clap::Args, Debug)]
pub struct VerifyArgs {
    /// A repository, as in `lap snapshot copy --to`
    #[arg(long, value_name = "REPOSITORY")]
    from: Option<String>,
    /// Also read the data: all of it, or a part that changes with each run, e.g. `10%`
    #[arg(long, value_name = "PART", num_args = 0..=1, default_missing_value = "100%")]
    read_data: Option<Depth>,
}

#[derive(Serialize)]
struct CopiedJson {
    id: Id,
    /// Bytes that came to the repository.
    added: u64,
    seconds: f64,
}

/// `lap snapshot copy`
pub fn copy(global: &Global, args: &CopyArgs) -> Result<()> {
    if args.due {
        return due::run(global, args);
    }
    let workspace = global.workspace()?;
    let environment = workspace.environment(args.environment.as_deref())?.clone();
    let place = LabRepositories::of(&workspace, args.to.as_deref())?;
    let copied = global.work("snapshot", &Changing::default(), |options| {
        let (workspace, environment, place) = (workspace.clone(), environment.clone(), place.clone());
        let id = args.snapshot.clone();
        async move { Snapshots::of(workspace, &environment).await?.copy(id.as_deref(), &place, &options).await }
    })?;
    let (id, name) = (copied.id, &place.name);
    if global.json() {
        return print_json(&CopiedJson {
            id,
            added: copied.sent.map_or(0, |(added, _)| added),
            seconds: copied.seconds,
        });
    }
    match copied.sent {
        None => outln!("`{name}` contains {id} of `{}` already.", environment.name),
        Some((added, size)) => outln!(
            "Copied {id} of `{}` to `{name}`: {}, of which {} were new there, in {}.",
            environment.name,
            bytes(size),
            bytes(added),
            short(copied.seconds)
        ),
    }
    Ok(())
}

/// `lap snapshot fetch`
pub fn fetch(global: &Global, args: &FetchArgs) -> Result<()> {
    let fetched = fetch_first(global, &args.snapshot, args.environment.as_deref(), args.from.as_deref())?;
    let Fetched { id, new, seconds } = fetched;
    if global.json() {
        return print_json(&id);
    }
    if new {
        outln!("Fetched snapshot {id} to the node, in {}. `lap restore {id}` restores it.", short(seconds));
    } else {
        outln!("Snapshot {id} is on the node already.");
    }
    Ok(())
}

/// For `lap restore --from`: the snapshot is a node's own before it is restored.
pub fn fetch_first(global: &Global, snapshot: &str, environment: Option<&str>, from: Option<&str>) -> Result<Fetched> {
    let workspace = global.workspace()?;
    let environment = workspace.environment(environment)?.clone();
    let place = LabRepositories::of(&workspace, from)?;
    global.work("snapshot", &Changing::default(), |options| {
        let (workspace, id) = (workspace.clone(), snapshot.to_owned());
        async move { Snapshots::of(workspace, &environment).await?.fetch(&id, &place, &options).await }
    })
}

/// `lap snapshot list --from`
pub fn list(global: &Global, environment: Option<&str>, from: &str, json: bool) -> Result<()> {
    let workspace = global.workspace()?;
    let environment = workspace.environment(environment)?;
    let copies = LabRepositories::of(&workspace, Some(from))?.copies(&environment.name)?;
    if json || global.json() {
        return print_json(&copies);
    }
    if copies.is_empty() {
        outln!("`{from}` has no snapshots of `{0}`. `lap snapshot copy {0}` makes one.", environment.name);
        return Ok(());
    }
    let rows: Vec<[String; 5]> = copies
        .iter()
        .map(|copy| {
            let total = copy.size.map_or_else(|| "-".into(), bytes);
            let age = if is_ahead(copy.at, now()) { "in the future".into() } else { ago(now() - copy.at) };
            let whose = if copy.shared { "shared" } else { "own" };
            [copy.id.to_string(), age, total, copy.restic[..8].to_owned(), whose.into()]
        })
        .collect();
    out!("{}", table(["SNAPSHOT", "AGE", "TOTAL", "RESTIC", "REPOSITORY"], &rows));
    if copies.iter().any(|copy| copy.shared) {
        outln!(
            "\n`shared`: from a repository that all environments share. Only its tag says that the copy belongs to `{}`.",
            environment.name
        );
    }
    Ok(())
}

/// Tells the nodes that run: a repository holds the copies of all.
async fn note_verified(workspace: &Arc<Workspace>, place: &LabRepositories, faults: usize, options: &Options) {
    for environment in workspace.lab.environments.values() {
        if let Ok(snapshots) = Snapshots::of(workspace.clone(), environment).await
            && let Err(error) = snapshots.note_verified(place, faults, options).await
        {
            options.events.note(format!("  `{}` has no record of it: {error}", environment.name));
        }
    }
}

/// `lap snapshot verify`
pub fn verify(global: &Global, args: &VerifyArgs) -> Result<ExitCode> {
    let workspace = global.workspace()?;
    let place = LabRepositories::of(&workspace, args.from.as_deref())?;
    let depth = args.read_data.unwrap_or(Depth::Structure);
    let wrong = global.work("snapshot", &Changing::default(), |options| {
        let (place, workspace) = (place.clone(), workspace.clone());
        async move {
            let wrong = place.verify(None, depth, &options).await?;
            note_verified(&workspace, &place, wrong.len(), &options).await;
            Ok(wrong)
        }
    })?;
    if global.json() {
        print_json(&wrong)?;
    }
    let name = &place.name;
    if wrong.is_empty() {
        if !global.json() {
            match depth {
                Depth::Structure => outln!("`{name}` is complete. Use `--read-data` to read the data, too."),
                Depth::Data(part) if part < 100.0 => outln!("`{name}` is complete, and {part} % of its data was read."),
                Depth::Data(_) => outln!("`{name}` is complete, and all its data was read."),
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    if !global.json() {
        wrong.iter().for_each(|line| outln!("{line}"));
    }
    let error = Error::new(Kind::Unhealthy, format!("`{name}` is damaged: {}", plural(wrong.len(), "fault")));
    Err(error.hint("its undamaged data can be restored; make a new repository for further copies"))
}
