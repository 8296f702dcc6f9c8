//! `lap prune`

use std::{process::ExitCode, time::Duration};

use lap_base::{
    error::Result,
    words::{bytes, plural},
};

use super::{
    common::{Changing, print_json},
    confirm::Confirm,
    global::Global,
    value,
};
use crate::{
    apply::prune,
    report::{
        print::{out, outln},
        table::table,
    },
    wire::prune::{ItemKind, PruneDecision, PruneRules},
};

/// Remove unused releases, images, registry layers, files, and data of failed releases
///
/// lap keeps everything that a running container, a kept release (`keep` in `[promote]` of lap.toml) or a snapshot needs;
/// the table shows the reason. The registry serves all the time.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The environment [default: the lab's]
    environment: Option<String>,
    #[command(flatten)]
    confirm: Confirm,
    /// Keep everything that is younger than this
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = "1h")]
    grace: Duration,
    /// List only what is removed
    #[arg(long)]
    brief: bool,
    /// The result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    changing: Changing,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let environment = workspace.environment(self.environment.as_deref())?.clone();
        let promote = &workspace.lab.promote;
        let rules =
            PruneRules { keep: promote.keep, keep_failed: promote.keep_failed.as_secs(), grace: self.grace.as_secs() };
        let json = self.json || global.json();
        let work = |dry_run: bool| {
            let changing = Changing { dry_run, ..self.changing.clone() };
            global.work("prune", &changing, |options| {
                let (workspace, environment) = (workspace.clone(), environment.clone());
                async move { prune::prune(workspace, &environment, rules, &options).await }
            })
        };
        if self.changing.dry_run || !self.confirm.is_given() {
            let would = work(true)?;
            if self.changing.dry_run && json {
                print_json(&would)?;
            } else {
                self.show(&would, "goes");
            }
            if self.changing.dry_run || !would.iter().any(is_removed) {
                return Ok(ExitCode::SUCCESS);
            }
            self.confirm.ask(&format!("Remove them from `{}`?", environment.name))?;
        }
        let done = work(false)?;
        if json {
            print_json(&done)?;
        } else if self.confirm.is_given() {
            self.show(&done, "removed");
        }
        prune::whole(&done)?;
        let gone = done.iter().filter(|decision| is_removed(decision)).count();
        if !json && gone > 0 {
            outln!("Removed {} of `{}`.", plural(gone, "thing"), environment.name);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn show(&self, decisions: &[PruneDecision], goes_word: &str) {
        let rows: Vec<[String; 5]> = decisions
            .iter()
            .filter(|decision| !self.brief || is_removed(decision))
            .map(|decision| {
                let word = match (&decision.todo, &decision.failed) {
                    (_, Some(_)) => "FAILED",
                    (Some(_), _) => goes_word,
                    (None, _) => "stays",
                };
                let size = decision.size.map_or_else(|| "-".to_owned(), bytes);
                [kind(decision.what).to_owned(), decision.name.clone(), size, word.to_owned(), decision.why.clone()]
            })
            .collect();
        if !rows.is_empty() {
            out!("{}", table(["KIND", "NAME", "SIZE", "", "WHY"], &rows));
        }
        if !decisions.iter().any(is_removed) {
            outln!("Nothing to remove.");
        }
    }
}

fn is_removed(decision: &PruneDecision) -> bool {
    decision.todo.is_some()
}

fn kind(what: ItemKind) -> &'static str {
    match what {
        ItemKind::Release => "release",
        ItemKind::Snapshot => "snapshot",
        ItemKind::Container => "container",
        ItemKind::Image => "image",
        ItemKind::Files => "files",
        ItemKind::Registry => "registry",
        ItemKind::Layers => "layers",
        ItemKind::BuildCache => "build cache",
        ItemKind::NodeImage => "node image",
    }
}
