//! `lap snapshot prune --in` and `lap snapshot rm --in`: copies go, and their room comes back.

use lap_base::{
    error::Result,
    words::{bytes, plural},
};

use super::super::{
    common::{Changing, print_json},
    confirm::Confirm,
};
use crate::{
    apply::{
        copies::{Going, ThinnedCopies},
        repository::LabRepositories,
        snapshot::Snapshots,
    },
    cli::{
        global::Global,
        snapshot::decisions::{ask_to_prune, print_decisions},
    },
    report::print::outln,
};

/// `lap snapshot prune --in`
pub fn prune(
    global: &Global,
    environment: Option<&str>,
    from: &str,
    confirm: Confirm,
    changing: &Changing,
) -> Result<()> {
    let workspace = global.workspace()?;
    let policy = workspace.lab.copies;
    let work = |changing: &Changing| go(global, environment, from, changing, &Going::Policy(&policy));
    if !changing.dry_run && !confirm.is_given() {
        let would = work(&changing.dry())?;
        if !ask_to_prune(global, confirm, from, &would.decisions)? {
            return Ok(());
        }
    }
    let gone = work(changing)?;
    if global.json() {
        return print_json(&gone.decisions);
    }
    if gone.decisions.is_empty() {
        outln!("There are no copies.");
    } else {
        print_decisions(&gone.decisions, changing.dry_run);
    }
    room(from, &gone);
    Ok(())
}

/// `lap snapshot rm --in`
pub fn remove(
    global: &Global,
    environment: Option<&str>,
    from: &str,
    ids: Vec<String>,
    confirm: Confirm,
) -> Result<()> {
    confirm.ask(&format!("Remove {} from `{from}`?", plural(ids.len(), "snapshot")))?;
    let gone = go(global, environment, from, &Changing::default(), &Going::Named(&ids))?;
    if global.json() {
        return print_json(&ids);
    }
    outln!("Removed {} from `{from}`.", plural(ids.len(), "snapshot"));
    room(from, &gone);
    Ok(())
}

fn go(
    global: &Global,
    environment: Option<&str>,
    from: &str,
    changing: &Changing,
    what: &Going<'_>,
) -> Result<ThinnedCopies> {
    let workspace = global.workspace()?;
    let environment = workspace.environment(environment)?.clone();
    let place = LabRepositories::of(&workspace, Some(from))?;
    global.work("snapshot", changing, |options| {
        let workspace = workspace.clone();
        async move { Snapshots::of(workspace, &environment).await?.remove_copies(what, &place, &options).await }
    })
}

fn room(from: &str, gone: &ThinnedCopies) {
    if let Some(pruned) = gone.pruned {
        let freed = pruned.before.saturating_sub(pruned.after);
        outln!("`{from}` contains {} of data, {} less than before.", bytes(pruned.after), bytes(freed));
    }
}
