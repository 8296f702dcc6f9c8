//! `lap snapshot copy --due`: for cron, or a timer. It says nothing where nothing was to be done.

use std::sync::Arc;

use lap_base::{
    error::{Error, Kind, Result},
    words::{bytes, plural},
};
use lap_snapshots::Id;
use serde::Serialize;

use super::{
    super::common::{Changing, print_json},
    args::CopyArgs,
};
use crate::{
    apply::{copies::Due, options::Options, repository::LabRepositories, snapshot::Snapshots},
    cli::global::Global,
    config::model::Environment,
    drivers,
    report::print::outln,
    workspace::Workspace,
};

#[derive(Serialize)]
struct Done {
    environment: String,
    repository: String,
    copied: Option<Id>,
    /// Bytes that came to the repository.
    added: u64,
    removed: usize,
    /// What a verification found; null: it was not due.
    faults: Option<Vec<String>>,
    failed: Option<String>,
}

pub fn run(global: &Global, args: &CopyArgs) -> Result<()> {
    let workspace = global.workspace()?;
    let policy = workspace.lab.copies;
    if policy.every.is_none() && policy.verify.is_none() {
        return Err(Error::new(Kind::Config, "lap.toml has no schedule for copies")
            .hint("write `every = …` under `[copies]` (`lap help lap.toml`)"));
    }
    let places = match &args.to {
        Some(name) => vec![LabRepositories::of(&workspace, Some(name))?],
        None => LabRepositories::all(&workspace)?,
    };
    let environments: Vec<Environment> = if args.all {
        workspace.lab.environments.values().cloned().collect()
    } else {
        vec![workspace.environment(args.environment.as_deref())?.clone()]
    };
    let mut failures = Vec::new();
    let done = global.work("snapshot", &Changing::default(), |options| {
        let failures = &mut failures;
        async move {
            let mut done = Vec::new();
            for environment in environments {
                if args.all && !has_node(&workspace, &environment).await? {
                    continue;
                }
                for place in &places {
                    let one = one(&workspace, &environment, place, &options).await;
                    let (environment, repository) = (environment.name.clone(), place.name.clone());
                    let failed = one.as_ref().err().map(ToString::to_string);
                    let due = one.unwrap_or_else(|error| {
                        failures.push(error);
                        Due::default()
                    });
                    let copied = due.copied.as_ref().map(|copied| copied.id.clone());
                    let added = due.copied.as_ref().and_then(|copied| copied.sent).map_or(0, |(added, _)| added);
                    let (removed, faults) = (due.removed, due.verified);
                    done.push(Done { environment, repository, copied, added, removed, faults, failed });
                }
            }
            Ok(done)
        }
    })?;
    if global.json() {
        print_json(&done)?;
    } else {
        done.iter().for_each(tell);
    }
    let damaged: Vec<&Done> =
        done.iter().filter(|done| done.faults.as_ref().is_some_and(|all| !all.is_empty())).collect();
    match (failures.pop(), damaged.first()) {
        (Some(error), _) => Err(failures.iter().fold(error, |error, other| error.hint(format!("and: {other}")))),
        (None, Some(first)) => {
            let faults = plural(first.faults.as_ref().map_or(0, Vec::len), "fault");
            Err(Error::new(Kind::Unhealthy, format!("`{}` is damaged: {faults}", first.repository))
                .hint(format!("`lap snapshot verify --from {}` lists the damage", first.repository)))
        }
        (None, None) => Ok(()),
    }
}

async fn one(
    workspace: &Arc<Workspace>,
    environment: &Environment,
    place: &LabRepositories,
    options: &Options,
) -> Result<Due> {
    let snapshots = Snapshots::of(workspace.clone(), environment).await?;
    snapshots.do_due(place, &workspace.lab.copies, options).await
}

/// Whether it was ever made. One that is down has one, and is late when that lasts.
async fn has_node(workspace: &Workspace, environment: &Environment) -> Result<bool> {
    let host = drivers::node::observe(&workspace.lab).await?.facts;
    Ok(host.nodes.contains_key(&environment.master))
}

fn tell(done: &Done) {
    let Done { environment, repository, copied, added, removed, faults, .. } = done;
    if let Some(id) = copied {
        outln!("Copied {id} of `{environment}` to `{repository}`, {} were new there.", bytes(*added));
    }
    if *removed > 0 {
        outln!("Removed {} of `{environment}` from `{repository}`.", plural(*removed, "snapshot"));
    }
    match faults.as_deref() {
        None => {}
        Some([]) => outln!("Verified `{repository}`."),
        Some(wrong) => wrong.iter().for_each(|line| outln!("`{repository}`: {line}")),
    }
}
