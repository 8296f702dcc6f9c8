//! `lap restore`

use std::process::ExitCode;

use lap_base::{error::Result, words::bytes};
use lap_snapshots::hooks::Scrub;

use super::{
    common::{Changing, print_json, runtime},
    confirm::Confirm,
    copies,
    global::Global,
    snapshot::{print_differs, texts::short},
};
use crate::{
    apply::{
        into::{into, scrubs, source},
        options::Scope,
        snapshot::Snapshots,
        up::up,
    },
    config::app_address::{KnownApplications, several},
    report::{
        print::{out, outln},
        table::table,
    },
    wire::protocol::RestorePart,
};

/// Restore all data of an environment from a snapshot; the present data becomes a snapshot first
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A snapshot (`lap snapshot list` shows them), or `latest`
    snapshot: String,
    /// The environment [default: `default` in lap.toml]
    environment: Option<String>,
    /// From this repository, as in `lap snapshot copy --to`, if the node does not have the snapshot
    #[arg(long, value_name = "REPOSITORY", conflicts_with = "dry_run")]
    from: Option<String>,
    /// Only the data of these containers, as `[environment/]application[/service[/copy]]`; the others keep running
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', conflicts_with = "file")]
    only: Vec<String>,
    /// Only this file or directory below /data, e.g. `git/config`; no container stops
    #[arg(long, value_name = "PATH")]
    file: Option<String>,
    /// Restore only the data, even if other images ran at that time
    #[arg(long)]
    keep_release: bool,
    /// Restore into this environment instead, with each container's data scrubbed as in its container.toml; without a named
    /// environment, the snapshot is from the environment that takes releases from it
    #[arg(long, value_name = "ENVIRONMENT", conflicts_with_all = ["only", "file", "keep_release", "from"])]
    into: Option<String>,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    changing: Changing,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        if let Some(into) = self.into.clone() {
            return self.bring(global, &into);
        }
        let workspace = global.workspace()?;
        // The environment by itself, so that a name that is none gets its own error.
        let named = self.environment.as_deref().map(|name| workspace.environment(Some(name))).transpose()?;
        let default =
            if self.only.iter().any(|word| word.contains('/')) { None } else { workspace.environment(None).ok() };
        let words = named.or(default).map(|environment| environment.name.clone()).into_iter();
        let words: Vec<String> = words.chain(self.only.iter().cloned()).collect();
        let (environment, only) = several(&workspace.lab, &words, KnownApplications::Node)?;
        let environment = environment.clone();
        let part = match (&self.file, self.only.is_empty()) {
            (Some(path), _) => RestorePart::Path(path.trim_start_matches("/data/").to_owned()),
            (None, true) => RestorePart::All,
            (None, false) => RestorePart::Containers(only),
        };
        let what = match &part {
            RestorePart::All | RestorePart::AllAndRelease => format!("`{}`", environment.name),
            RestorePart::Containers(names) => format!("`{}`", names.join("`, `")),
            RestorePart::Path(path) => format!("`{path}`"),
        };
        if !self.changing.dry_run {
            let question = match &part {
                RestorePart::All | RestorePart::AllAndRelease => {
                    format!("This replaces all data of {what}; a snapshot keeps it. Restore?")
                }
                _ => format!("This replaces {what} in `{}`; a snapshot keeps it. Restore?", environment.name),
            };
            self.confirm.ask(&question)?;
        }
        let snapshot = match &self.from {
            None => self.snapshot.clone(),
            Some(from) => {
                let fetched =
                    copies::fetch_first(global, &self.snapshot, Some(&environment.name), Some(from.as_str()))?;
                fetched.id.to_string()
            }
        };
        if self.changing.dry_run {
            let mut differs = runtime()?
                .block_on(async { Snapshots::of(workspace, &environment).await?.diff(&snapshot, None).await })?;
            differs.files.retain(|(path, _)| match &part {
                RestorePart::All | RestorePart::AllAndRelease => true,
                RestorePart::Containers(names) => names.iter().any(|name| path.starts_with(&format!("{name}/"))),
                RestorePart::Path(only) => {
                    // The node tells names as one line each, whatever bytes they have.
                    let only = only.escape_debug().to_string();
                    *path == only || path.starts_with(&format!("{only}/"))
                }
            });
            // Seen from the snapshot: what came since would go.
            print_differs(&differs, ["lost", "taken back", "come back"]);
            return Ok(ExitCode::SUCCESS);
        }
        let restored = global.work("restore", &self.changing, |options| {
            let (workspace, environment) = (workspace.clone(), environment.clone());
            let (snapshot, part, keep_release) = (snapshot.clone(), part.clone(), self.keep_release);
            async move {
                let snapshots = Snapshots::of(workspace.clone(), &environment).await?;
                let restored = snapshots.restore(&snapshot, part, keep_release, &options).await?;
                if restored.other_release {
                    options.events.note("  making the containers of that time again");
                    let scope = Scope { as_recorded: true, ..Scope::default() };
                    up(workspace, &environment, scope, &options).await.map_err(|error| {
                        error.hint(format!(
                            "the data is restored; run `lap start {}` to make its containers",
                            environment.name
                        ))
                    })?;
                }
                Ok(restored)
            }
        })?;
        if global.json() {
            print_json(&restored.kept)?;
            return Ok(ExitCode::SUCCESS);
        }
        match part {
            RestorePart::All if restored.other_release => {
                outln!("Restored {what} from {}, with the images of that time.", restored.id)
            }
            RestorePart::All => {
                outln!(
                    "Restored {what} from {}; the data was unavailable for {}.",
                    restored.id,
                    short(restored.seconds)
                )
            }
            RestorePart::Containers(_) if restored.seconds > 0.0 => {
                outln!("Restored {what} from {}; it was stopped for {}.", restored.id, short(restored.seconds));
            }
            _ => outln!("Restored {what} from {}.", restored.id),
        }
        let kept = restored.kept.id;
        let only = match &self.file {
            Some(path) => format!(" --file {path}"),
            None if self.only.is_empty() => String::new(),
            None => format!(" --only {}", self.only.join(",")),
        };
        outln!("Snapshot {kept} has the data before it: `lap restore {kept} {}{only}` undoes this.", environment.name);
        Ok(ExitCode::SUCCESS)
    }

    fn bring(self, global: &Global, into: &str) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let into = workspace.environment(Some(into))?.clone();
        let named = self.environment.as_deref().map(|name| workspace.environment(Some(name))).transpose()?;
        let from = source(&workspace.lab, named, &into)?.clone();
        let scrubs = scrubs(&workspace.lab)?;
        if self.changing.dry_run {
            let rows: Vec<[String; 2]> =
                scrubs.iter().map(|(name, (how, _))| [name.clone(), scrub_text(how)]).collect();
            out!("{}", table(["CONTAINER", "SCRUB"], &rows));
            return Ok(ExitCode::SUCCESS);
        }
        self.confirm.ask(&format!("This replaces all data of `{}`; a snapshot keeps it. Restore?", into.name))?;
        let brought = global.work("restore", &self.changing, |options| {
            let (workspace, from, into) = (workspace.clone(), from.clone(), into.clone());
            async move { self::into(workspace, (&from, &into), &self.snapshot, scrubs, &options).await }
        })?;
        if global.json() {
            print_json(&brought.kept)?;
            return Ok(ExitCode::SUCCESS);
        }
        let (kept, to) = (brought.kept.id, &into.name);
        let travelled =
            brought.bytes.map_or_else(|| "nothing had to be sent".into(), |size| format!("{} travelled", bytes(size)));
        outln!(
            "`{to}` has the scrubbed data of {} of `{}`; {travelled}, and the data was unavailable for {}.",
            brought.id,
            from.name,
            short(brought.seconds)
        );
        outln!("Snapshot {kept} has the data before it: `lap restore {kept} {to}` undoes this.");
        Ok(ExitCode::SUCCESS)
    }
}

fn scrub_text(how: &Scrub) -> String {
    match how {
        Scrub::None => "none".into(),
        Scrub::Run(command) => command.join(" "),
    }
}
