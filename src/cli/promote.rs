//! `lap promote`

use std::{process::ExitCode, sync::Arc, time::Duration};

use lap_base::{
    error::{Error, Kind, Result},
    words::{bytes, duration, plural},
};

use super::{
    common::{Changing, print_json},
    confirm::Confirm,
    consent,
    global::Global,
    value,
};
use crate::{
    apply::{
        master::Master,
        options::short,
        promote::{self, PromotionRules, Proposal, Switched, hooks::run::AgreedHooks, planned::Planned, stage},
    },
    config::model::{Environment, Lab},
    plan::switch::ContainerAction,
    release::{LedgerEntry, SwitchOutcome, Verb},
    report::{
        print::{out, outln},
        table::table,
    },
};

/// Make the tested commit of one environment the release of another, as one transaction
///
/// lap transfers everything while the old release runs. Then it stops only the containers that change, takes a snapshot of
/// their data, starts the new ones and watches them. If one is not healthy, lap takes everything back. After a kill at any
/// moment, the result is the old release or the new one.
///
/// Nothing of the commit runs before you agree to it. These are a consent: `HEAD` or a branch of your clone contains the
/// commit; an operator signed it with an SSH key; or lap shows the commit and you agree. With `--yes`, only the first two
/// count.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The environment where it was tested [default: `promote_from` of the other one]
    #[arg(long, value_name = "ENVIRONMENT")]
    from: Option<String>,
    /// The target environment [default: the one that has `promote_from`]
    #[arg(long, value_name = "ENVIRONMENT")]
    to: Option<String>,
    /// Watch the promotion in progress, or begin one
    #[arg(long, conflicts_with = "abort")]
    resume: bool,
    /// Have the promotion that is under way taken back
    #[arg(long)]
    abort: bool,
    #[command(flatten)]
    switching: Switching,
}

/// Options of whatever switches to another release.
#[derive(clap::Args, Clone, Debug)]
pub struct Switching {
    #[command(flatten)]
    confirm: Confirm,
    /// How long the release must stay healthy, e.g. `30s` [default: `settle` in lap.toml, or 10s]
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    settle: Option<Duration>,
    /// Take the release back if the outage of a service is longer, e.g. `5s`
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    max_outage: Option<Duration>,
    #[command(flatten)]
    changing: Changing,
}

impl Switching {
    /// Whether only to say what would be done, and whether to wait.
    pub fn changing(&self) -> Changing {
        self.changing.clone()
    }

    fn rules(&self, lab: &Lab) -> PromotionRules {
        PromotionRules {
            settle: self.settle.unwrap_or(lab.promote.settle),
            max_outage: self.max_outage.or(lab.promote.max_outage),
        }
    }
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let to = target(&workspace.lab, self.to.as_deref())?.clone();
        let from = self.from.clone().or_else(|| to.promote_from.clone());
        let from = from.ok_or_else(|| {
            Error::new(Kind::Refused, format!("`{}` takes no releases: its env.toml has no `promote_from`", to.name))
        })?;
        let from = workspace.environment(Some(&from))?.clone();
        if to.promote_from.as_deref() != Some(&from.name) {
            let may = to
                .promote_from
                .as_deref()
                .map_or("nothing".to_owned(), |name| format!("only commits that ran on `{name}`"));
            return Err(Error::new(Kind::Refused, format!("`{}` takes {may}", to.name))
                .hint(format!("`promote_from` in env/{}/env.toml sets this", to.name)));
        }
        if self.abort || self.resume {
            let watched = global.work("promote", &self.switching.changing, |options| {
                let (workspace, to, abort) = (workspace.clone(), to.clone(), self.abort);
                async move {
                    let master = Arc::new(Master::connect(workspace, &to, Duration::from_secs(5)).await?);
                    if abort {
                        promote::abort(&master, &options).await.map(|(entry, hash)| Some((entry, hash, None)))
                    } else {
                        promote::resume(&master, &options).await
                    }
                }
            });
            match watched? {
                None => outln!("There is no promotion to watch; beginning one."),
                Some((entry, hash, _)) if self.abort && entry.result != SwitchOutcome::Done => {
                    outln!(
                        "Release {} was taken back; `{}` runs the old release. Ledger: {hash}",
                        entry.release,
                        to.name
                    );
                    return Ok(ExitCode::SUCCESS);
                }
                Some((entry, hash, complaint)) => {
                    let code = show_result(&to.name, &entry, &hash)?;
                    return complained(complaint, &entry).map(|()| code);
                }
            }
        }
        let changing = self.switching.changing();
        let proposal = global.work("promote", &changing, |options| {
            let (workspace, from, to) = (workspace.clone(), from.clone(), to.clone());
            async move { promote::propose(workspace, &from, &to, &options).await }
        })?;
        let only =
            |proposal: &Proposal| global.work("promote", &changing, async |options| proposal.plan_only(&options).await);
        if changing.dry_run {
            consent::show(&proposal);
            let mut planned = only(&proposal)?;
            if proposal.standing.is_none() {
                planned
                    .notes
                    .push("`lap promote` asks whether you agree to this commit; with `--yes` it refuses it".into());
            }
            shown(&planned, &proposal.hooks, &self.switching);
            return Ok(ExitCode::SUCCESS);
        }
        if proposal.runs_already && proposal.standing.is_none() {
            let planned = only(&proposal)?;
            if planned.is_nothing() {
                shown(&planned, &[], &self.switching);
                return Ok(ExitCode::SUCCESS);
            }
        }
        let agreed = consent::agreed(&proposal, self.switching.confirm.is_given())?;
        let (planned, hooks) =
            global.work("promote", &changing, async |options| proposal.plan(agreed, &options).await)?;
        carry_out(global, planned, Some(&hooks), &self.switching, "promote")
    }
}

/// The environment that is meant when none is named: the only one that takes releases.
pub fn target<'a>(lab: &'a Lab, name: Option<&str>) -> Result<&'a Environment> {
    let takes: Vec<&Environment> = lab.environments.values().filter(|env| env.promote_from.is_some()).collect();
    let names = takes.iter().map(|env| env.name.as_str()).collect::<Vec<_>>().join("`, `");
    match (name, takes.as_slice()) {
        (Some(name), _) => lab.environments.get(name).ok_or_else(|| {
            let whereto =
                if takes.is_empty() { "none takes releases".into() } else { format!("promotions go to `{names}`") };
            Error::new(Kind::Usage, format!("there is no environment `{name}`: {whereto}"))
                .hint("set `promote_from` in its env.toml (`lap help env.toml`)")
        }),
        (None, [one]) => Ok(one),
        (None, []) => Err(Error::new(Kind::Refused, "no environment takes releases")
            .hint("set `promote_from = \"test\"` in an env.toml")),
        (None, _) => Err(Error::new(Kind::Usage, format!("several environments take releases: `{names}`"))
            .hint("name one with `--to`")),
    }
}

/// Shows what would be done, asks, does it, tells how it went.
pub fn carry_out(
    global: &Global,
    planned: Planned,
    hooks: Option<&AgreedHooks>,
    switching: &Switching,
    verb: &'static str,
) -> Result<ExitCode> {
    let name = planned.master.environment.name.clone();
    let rules = switching.rules(&planned.master.workspace.lab);
    shown(&planned, &hooks.map(AgreedHooks::names).unwrap_or_default(), switching);
    if planned.is_nothing() || switching.changing.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    switching.confirm.ask(&format!("Change `{name}`?"))?;
    let switched = global.work(verb, &switching.changing, |options| async move {
        promote::carry_out(planned, hooks, rules, &options).await
    })?;
    let Switched { entry, hash, moved, seconds, .. } = &switched;
    if global.json() {
        print_json(entry)?;
    }
    let code = show_result(&name, entry, hash)?;
    outln!("Sent {} of images; {} in total.", bytes(*moved), duration(*seconds));
    complained(switched.complaint, &switched.entry)?;
    Ok(code)
}

/// The release is made, whatever the hook after it says.
fn complained(complaint: Option<Error>, entry: &LedgerEntry) -> Result<()> {
    let Some(error) = complaint else { return Ok(()) };
    Err(Error::new(Kind::Other, format!("release {} runs, but {}", entry.release, error.message)))
}

/// Shows what would be done, or that there is nothing to do.
fn shown(planned: &Planned, hooks: &[&str], switching: &Switching) {
    if planned.is_nothing() {
        outln!(
            "Nothing to {}: `{}` runs {} already.",
            planned.verb.word(),
            planned.master.environment.name,
            stage::named(&planned.old)
        );
        planned.notes.iter().for_each(|note| outln!("Note: {note}."));
        return;
    }
    show(planned, switching.rules(&planned.master.workspace.lab));
    if !hooks.is_empty() {
        outln!("Hooks of that commit: `{}`.\n", hooks.join("`, `"));
    }
}

fn show(planned: &Planned, rules: PromotionRules) {
    let name = &planned.master.environment.name;
    let from = planned.from.as_ref().map(|from| format!(" from `{}`", from.environment.name)).unwrap_or_default();
    outln!(
        "`{name}` runs {}; the promotion makes it run {}{from}.\n",
        stage::named(&planned.old),
        stage::named(&planned.target)
    );
    let row = |change: &crate::plan::switch::ContainerChange| {
        let data = match change.act {
            ContainerAction::Add => "starts empty",
            _ if planned.data.is_some() => "restored",
            ContainerAction::Replace => "kept, restored on failure",
            ContainerAction::Remove => "stays on the node",
        };
        [change.to_string(), change.why.clone(), data.to_owned()]
    };
    let rows: Vec<[String; 3]> = planned.changes.list.iter().map(row).collect();
    if rows.is_empty() {
        outln!("No container changes.");
    } else {
        out!("{}", table(["CONTAINER", "WHY", "DATA"], &rows));
    }
    if !planned.changes.same.is_empty() {
        outln!("Not touched: `{}`.", planned.changes.same.join("`, `"));
    }
    if let Some(id) = &planned.data {
        outln!("Their data goes back to {id}; lap first takes a snapshot of the present data.");
    }
    let away = "Outage: the replaced services, from stop to start";
    let last = promote::expected(planned).map(|gap| format!(", {gap} ms in the last promotion")).unwrap_or_default();
    match rules.max_outage {
        Some(most) => {
            outln!("{away}{last}; lap takes the release back if it exceeds {}.", duration(most.as_secs_f64()))
        }
        None => outln!("{away}{last}."),
    }
    for note in &planned.notes {
        outln!("Note: {note}.");
    }
    outln!("");
}

/// How it ended; a release that was taken back is an error.
pub fn show_result(environment: &str, entry: &LedgerEntry, hash: &str) -> Result<ExitCode> {
    let release = entry.release;
    match &entry.result {
        SwitchOutcome::TakenBack { why, failed } => {
            let message = format!("release {release} was taken back, `{environment}` runs the old release: {why}");
            let error = Error::new(Kind::Unhealthy, message);
            Err(match failed {
                Some(id) => error.hint(format!(
                    "snapshot {id} has its data: `lap snapshot diff {id} --env {environment}` shows the changes"
                )),
                None => error,
            })
        }
        SwitchOutcome::Done => {
            outln!("`{environment}` runs release {release} ({}).", short(&entry.commit));
            for felt in &entry.outage {
                let failed = if felt.failed == 0 { "none failed".into() } else { format!("{} failed", felt.failed) };
                let slow = if felt.slow == 0 { String::new() } else { format!(", {} slow", felt.slow) };
                let gap = if felt.gap == 0 { String::new() } else { format!("; the longest gap {} ms", felt.gap) };
                outln!("  {}: {}, {failed}{slow}{gap}", felt.service, plural(felt.requests as usize, "request"));
            }
            match &entry.before {
                Some(before) if entry.verb == Verb::Promote => outln!(
                    "Snapshot {before} has the data before it: `lap rollback --to {environment}` returns to it and to the previous release."
                ),
                Some(before) => outln!("Snapshot {before} has the data before it."),
                None => {}
            }
            outln!("Ledger: {hash}");
            Ok(ExitCode::SUCCESS)
        }
    }
}
