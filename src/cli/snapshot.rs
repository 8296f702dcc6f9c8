//! `lap snapshot`

pub mod decisions;
mod mount;
mod show;
pub mod texts;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Subcommand;
use lap_base::{
    clock::now,
    error::Result,
    words::{ago, bytes, plural},
};
use lap_snapshots::{Damaged, FileChange, Id, Reason};
use serde::Serialize;

use self::{
    decisions::{ask_to_prune, print_decisions},
    texts::{felt, kept, ran, short},
};
use super::{
    common::{Changing, print_json, runtime},
    confirm::Confirm,
    copies::{self, FetchArgs, VerifyArgs, args::CopyArgs},
    global::Global,
    value,
};
use crate::{
    apply::snapshot::{Differs, Snapshots},
    report::{
        print::{out, outln},
        table::table,
    },
    wire::protocol::ListedSnapshot,
};

/// How many files of a difference are named; `--json` names all.
const SHOWN: usize = 20;

/// Take a snapshot of all data of an environment at one instant, while its containers run
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// The environment [default: `default` in lap.toml]
    environment: Option<String>,
    /// Why you take it; `lap snapshot list` shows this text
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Take none if writers would have to wait for the disk longer than that, e.g. `50ms`; what is to be written is written
    /// first.
    /// Without btrfs: if containers would have to stand still longer
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    max_pause: Option<Duration>,
    /// Wait until the lock of the node is free
    #[arg(long)]
    wait: bool,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// List an environment's snapshots
    List {
        /// The environment [default: `default` in lap.toml]
        environment: Option<String>,
        /// The snapshots in this repository (see `lap snapshot copy --to`)
        #[arg(long, value_name = "REPOSITORY", conflicts_with = "sizes")]
        from: Option<String>,
        /// Show the size that each snapshot alone uses; reads the metadata of every file
        #[arg(long)]
        sizes: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List the files that were added, changed or removed since, by container
    Diff {
        /// A snapshot, or `latest`
        from: String,
        /// Another one [default: the present]
        to: Option<String>,
        /// The environment [default: `default` in lap.toml]
        #[arg(long = "env", value_name = "ENVIRONMENT")]
        environment: Option<String>,
        /// As JSON, with every file
        #[arg(long)]
        json: bool,
    },
    Show(show::Args),
    Mount(mount::Args),
    /// Copy a snapshot into a repository in restic's format; only new data is sent
    Copy(CopyArgs),
    /// Download a snapshot from a repository to the node
    Fetch(FetchArgs),
    /// Verify a repository and name all damage
    Verify(VerifyArgs),
    /// Write a snapshot as one tar file
    Export {
        /// A snapshot, or `latest`
        id: String,
        /// The file on this machine
        file: PathBuf,
        /// The environment [default: `default` in lap.toml]
        #[arg(long = "env", value_name = "ENVIRONMENT")]
        environment: Option<String>,
    },
    /// Import a snapshot from a tar file that `export` wrote
    Import {
        /// The file on this machine
        file: PathBuf,
        /// The environment [default: `default` in lap.toml]
        #[arg(long = "env", value_name = "ENVIRONMENT")]
        environment: Option<String>,
        /// Wait until the lock of the node is free
        #[arg(long)]
        wait: bool,
    },
    /// Remove the snapshots that the policy in lap.toml does not keep, like the node's schedule
    Prune {
        /// The environment [default: `default` in lap.toml]
        environment: Option<String>,
        /// Those in a repository, as in `copy --to`, by `[copies] keep`
        #[arg(long = "in", value_name = "REPOSITORY", conflicts_with = "wait")]
        repository: Option<String>,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        changing: Changing,
    },
    /// Remove snapshots
    Rm {
        /// Their names
        #[arg(required = true, value_name = "SNAPSHOT")]
        ids: Vec<String>,
        /// The environment [default: `default` in lap.toml]
        #[arg(long = "env", value_name = "ENVIRONMENT")]
        environment: Option<String>,
        /// Those in a repository, as in `copy --to`
        #[arg(long = "in", value_name = "REPOSITORY", conflicts_with = "wait")]
        repository: Option<String>,
        #[command(flatten)]
        confirm: Confirm,
        /// Wait until the lock of the node is free
        #[arg(long)]
        wait: bool,
    },
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        match self.verb {
            None => self.take(global)?,
            Some(Verb::List { environment, from: Some(from), json, .. }) => {
                copies::list(global, environment.as_deref(), &from, json)?;
            }
            Some(Verb::List { environment, sizes, json, .. }) => list(global, environment, sizes, json)?,
            Some(Verb::Show(args)) => return args.run(global),
            Some(Verb::Mount(args)) => return args.run(global),
            Some(Verb::Copy(args)) => copies::copy(global, &args)?,
            Some(Verb::Fetch(args)) => copies::fetch(global, &args)?,
            Some(Verb::Verify(args)) => return copies::verify(global, &args),
            Some(Verb::Diff { from, to, environment, json }) => diff(global, environment, &from, to.as_deref(), json)?,
            Some(Verb::Export { id, file, environment }) => export(global, environment, &id, &file)?,
            Some(Verb::Import { file, environment, wait }) => import(global, environment, &file, wait)?,
            Some(Verb::Prune { environment, repository: Some(place), confirm, changing }) => {
                copies::prune(global, environment.as_deref(), &place, confirm, &changing)?;
            }
            Some(Verb::Rm { ids, environment, repository: Some(place), confirm, .. }) => {
                copies::remove(global, environment.as_deref(), &place, ids, confirm)?;
            }
            Some(Verb::Prune { environment, confirm, changing, .. }) => prune(global, environment, confirm, &changing)?,
            Some(Verb::Rm { ids, environment, confirm, wait, .. }) => remove(global, environment, &ids, confirm, wait)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn take(self, global: &Global) -> Result<()> {
        let Self { environment, note, max_pause, wait, .. } = self;
        let workspace = global.workspace()?;
        let environment = workspace.environment(environment.as_deref())?.clone();
        let taken = global.work("snapshot", &Changing { wait, ..Changing::default() }, |options| {
            let (workspace, environment) = (workspace.clone(), environment.clone());
            async move { Snapshots::of(workspace, &environment).await?.take(note, max_pause, &options).await }
        })?;
        if global.json() {
            return print_json(&taken.meta);
        }
        for complaint in &taken.complaints {
            outln!("{complaint}");
        }
        let (id, name) = (&taken.meta.id, &environment.name);
        outln!("Snapshot {id} of `{name}`, in {}. `lap restore {id}` restores it.", short(taken.seconds));
        taken.meta.pause.iter().flat_map(felt).for_each(|line| outln!("{line}"));
        Ok(())
    }
}

fn list(global: &Global, environment: Option<String>, sizes: bool, json: bool) -> Result<()> {
    let workspace = global.workspace()?;
    let environment = workspace.environment(environment.as_deref())?.clone();
    let (all, damaged) =
        runtime()?.block_on(async { Snapshots::of(workspace, &environment).await?.list_all(sizes).await })?;
    if json || global.json() {
        print_json(&all)?;
        // The list has only those that are described; that there are others must not go unsaid.
        return damaged.into_iter().next().map_or(Ok(()), |damaged| Err(damaged.why.into()));
    }
    if all.is_empty() && damaged.is_empty() {
        outln!("`{}` has no snapshots. `lap snapshot {0}` takes one.", environment.name);
        return Ok(());
    }
    let row = |listed: &ListedSnapshot| {
        let ListedSnapshot { meta, sizes, ahead, .. } = listed;
        let why = match meta.reason {
            Reason::Asked => "asked",
            Reason::Replaced => "restore",
            Reason::Scheduled => "schedule",
            Reason::Fetched => "fetched",
            Reason::Brought => "brought",
            Reason::Release => "release",
            Reason::Failed => "failed",
        };
        let (own, total) = sizes.map_or_else(|| ("-".into(), "-".into()), |(own, total)| (bytes(own), bytes(total)));
        let note = meta.note.clone().unwrap_or_else(|| "-".into());
        let note = if meta.nested.missing.is_empty() { note } else { format!("INCOMPLETE; {note}") };
        let (age, by) = (if *ahead { "in the future".into() } else { ago(now() - meta.at) }, meta.by.clone());
        [meta.id.to_string(), age, why.into(), ran(meta), own, total, by, kept(listed), note]
    };
    let mut rows: Vec<[String; 9]> = all.iter().map(row).collect();
    // The newest is the last row: only one that may be newer comes after it.
    let (newer, older): (Vec<_>, Vec<_>) = damaged.iter().partition(|damaged| damaged.may_be_newest);
    let row_of = |damaged: &Damaged| {
        let dash = || "-".to_owned();
        let why = format!("its description {}", damaged.why.reason);
        [damaged.id.to_string(), dash(), "damaged".into(), dash(), dash(), dash(), dash(), "until removed".into(), why]
    };
    for damaged in older {
        let at = all.iter().position(|listed| listed.meta.id > damaged.id).unwrap_or(0);
        rows.insert(at, row_of(damaged));
    }
    rows.extend(newer.into_iter().map(row_of));
    out!("{}", table(["SNAPSHOT", "AGE", "WHY", "RAN", "OWN", "TOTAL", "BY", "STAYS", "NOTE"], &rows));
    if !sizes {
        outln!(
            "\n`--sizes` shows the space that each snapshot occupies. lap reads all files for this, which takes time."
        );
    }
    let ahead: Vec<&Id> = all.iter().filter(|listed| listed.ahead).map(|listed| &listed.meta.id).collect();
    if !ahead.is_empty() {
        outln!("\n{}.", texts::ahead(&ahead));
        texts::mend_ahead(&ahead, &environment.name).iter().for_each(|hint| outln!("hint: {hint}"));
    }
    Ok(())
}

#[derive(Serialize)]
struct File<'a> {
    change: FileChange,
    path: &'a str,
}

fn diff(global: &Global, environment: Option<String>, from: &str, to: Option<&str>, json: bool) -> Result<()> {
    let workspace = global.workspace()?;
    let environment = workspace.environment(environment.as_deref())?.clone();
    let differs = runtime()?.block_on(async { Snapshots::of(workspace, &environment).await?.diff(from, to).await })?;
    if json || global.json() {
        let files: Vec<File> = differs.files.iter().map(|(path, change)| File { change: *change, path }).collect();
        return print_json(&files);
    }
    print_differs(&differs, ["added", "changed", "removed"]);
    Ok(())
}

/// By container how many files were added, changed and removed, each under its own word; then the first of them.
pub fn print_differs(differs: &Differs, words: [&str; 3]) {
    let Differs { from, to, files } = differs;
    if files.is_empty() {
        outln!("{from} and {to} are equal.");
        return;
    }
    let mut containers: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for (path, change) in files {
        let container = path.split('/').next().unwrap_or_default();
        containers.entry(container).or_default()[*change as usize] += 1;
    }
    let rows: Vec<[String; 4]> = containers
        .iter()
        .map(|(name, counts)| [(*name).to_owned(), counts[0].to_string(), counts[1].to_string(), counts[2].to_string()])
        .collect();
    let heading = words.map(str::to_uppercase);
    out!("{}", table(["CONTAINER", &heading[0], &heading[1], &heading[2]], &rows));
    outln!("");
    for (path, change) in files.iter().take(SHOWN) {
        outln!("{:<10} {path}", words[*change as usize]);
    }
    if files.len() > SHOWN {
        outln!("and {} more: `lap snapshot diff {from} --json` lists all", plural(files.len() - SHOWN, "file"));
    }
}

fn export(global: &Global, environment: Option<String>, id: &str, file: &Path) -> Result<()> {
    let workspace = global.workspace()?;
    let environment = workspace.environment(environment.as_deref())?.clone();
    let (meta, size) =
        runtime()?.block_on(async { Snapshots::of(workspace, &environment).await?.export(id, file).await })?;
    if global.json() {
        return print_json(&meta);
    }
    outln!("Wrote snapshot {} of `{}` to `{}`, {}.", meta.id, environment.name, file.display(), bytes(size));
    for why in meta.nested.left_behind("an archive does not contain subvolumes").complaints() {
        outln!("In the archive, {why}.");
    }
    Ok(())
}

fn import(global: &Global, environment: Option<String>, file: &Path, wait: bool) -> Result<()> {
    let workspace = global.workspace()?;
    let environment = workspace.environment(environment.as_deref())?.clone();
    let meta = global.work("snapshot", &Changing { wait, ..Changing::default() }, |options| {
        let (workspace, environment) = (workspace.clone(), environment.clone());
        async move { Snapshots::of(workspace, &environment).await?.import(file, &options).await }
    })?;
    if global.json() {
        return print_json(&meta);
    }
    outln!("`{}` has snapshot {} now. `lap restore {1} {0}` restores it.", environment.name, meta.id);
    Ok(())
}

fn prune(global: &Global, environment: Option<String>, confirm: Confirm, changing: &Changing) -> Result<()> {
    let workspace = global.workspace()?;
    let environment = workspace.environment(environment.as_deref())?.clone();
    let work = |changing: &Changing| {
        global.work("snapshot", changing, |options| {
            let (workspace, environment) = (workspace.clone(), environment.clone());
            async move { Snapshots::of(workspace, &environment).await?.prune(&options).await }
        })
    };
    if !changing.dry_run && !confirm.is_given() {
        let would = work(&changing.dry())?;
        if !ask_to_prune(global, confirm, &environment.name, &would)? {
            return Ok(());
        }
    }
    let decisions = work(changing)?;
    if global.json() {
        return print_json(&decisions);
    }
    print_decisions(&decisions, changing.dry_run);
    Ok(())
}

fn remove(global: &Global, environment: Option<String>, ids: &[String], confirm: Confirm, wait: bool) -> Result<()> {
    let workspace = global.workspace()?;
    let environment = workspace.environment(environment.as_deref())?.clone();
    confirm.ask(&format!("Remove {} from `{}`?", plural(ids.len(), "snapshot"), environment.name))?;
    global.work("snapshot", &Changing { wait, ..Changing::default() }, |options| {
        let (workspace, environment) = (workspace.clone(), environment.clone());
        async move {
            let snapshots = Snapshots::of(workspace, &environment).await?;
            for id in ids {
                snapshots.remove(id, &options).await?;
                options.events.note(format!("  removed {id}"));
            }
            Ok(())
        }
    })
}
