//! `lap drill`

use crate::report::print::outln;
use std::process::ExitCode;

use super::{
    Global,
    check::print,
    common::{Changing, print_json},
};
use crate::{
    apply::{
        drill::{copy_of, drill},
        repository::Place,
    },
    error::{Error, Kind, Result},
    words::{ago, duration, plural},
};

/// Test whether an environment can be recovered from its newest copy, in a lab that the command makes and removes
///
/// The drill makes nodes beside the real ones, fetches and restores the copy, starts the containers, waits until they are
/// healthy and runs their checks. It prints its duration and the age of the copy. `lap status` shows the last drill.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The environment [default: `default` in lap.toml]
    environment: Option<String>,
    /// A repository, as in `lap snapshot copy --to`
    #[arg(long, value_name = "REPOSITORY")]
    from: Option<String>,
    /// The copy
    #[arg(long, value_name = "SNAPSHOT", default_value = "latest")]
    snapshot: String,
    /// The result as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let environment = workspace.environment(self.environment.as_deref())?.clone();
        let place = Place::of(&workspace, self.from.as_deref())?;
        let done = global.work("drill", &Changing::default(), |options| {
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
