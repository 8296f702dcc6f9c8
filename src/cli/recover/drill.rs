//! `lap recover --drill`

use std::process::ExitCode;

use lap_base::{
    error::{Error, Kind, Result},
    words::{ago, duration, plural},
};

use crate::{
    apply::{
        drill::{copy_of, drill},
        repository::LabRepositories,
    },
    cli::{
        check::print,
        common::{Changing, print_json},
        global::Global,
    },
    report::print::outln,
};

/// Recovers the newest copy of an environment, or the named one, in a lab that lap makes for the drill and removes again.
pub struct DrillArgs {
    /// The environment; without a name, the default one.
    pub environment: Option<String>,
    /// The repository; without a name, the only one of lap.toml.
    pub from: Option<String>,
    /// The copy: a snapshot, or `latest`.
    pub snapshot: String,
    pub json: bool,
}

impl DrillArgs {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let environment = workspace.environment(self.environment.as_deref())?.clone();
        let place = LabRepositories::of(&workspace, self.from.as_deref())?;
        let done = global.work("recover --drill", &Changing::default(), |options| {
            let (workspace, environment, place) = (workspace.clone(), environment.clone(), place.clone());
            let id = self.snapshot.clone();
            async move {
                let copy = copy_of(&place, &environment, &id).await?;
                drill(&workspace, &environment, &place, &copy, &options).await
            }
        })?;
        let (name, from, drilled) = (&environment.name, &place.name, &done.drilled);
        let id = &drilled.id;
        if self.json || global.json() {
            print_json(&done)?;
        } else if !done.checks.is_empty() {
            print(&done.checks);
            outln!("");
        }
        if let Some(failed) = &drilled.failed {
            return Err(Error::new(
                Kind::Unhealthy,
                format!("the recovery of `{name}` from {id} in `{from}` failed: {failed}"),
            )
            .hint("the drill removed everything it made"));
        }
        if !(self.json || global.json()) {
            let checks = match done.checks.len() {
                0 => "there are no checks".to_owned(),
                count => format!("{} passed", plural(count, "check")),
            };
            outln!("Recovered `{name}` from {id} in `{from}`, in {}: healthy, {checks}.", duration(drilled.seconds));
            outln!(
                "A real recovery would lose the changes of the {} since then. The drill removed everything it made.",
                ago(drilled.lost)
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}
