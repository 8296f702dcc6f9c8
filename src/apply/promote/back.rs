//! Back to a release that ran here.

use std::{sync::Arc, time::Duration};

use lap_base::error::{Error, Kind, Result};

use super::{
    git,
    planned::Planned,
    stage::{compare, recorded, stage},
    watch,
};
use crate::{
    apply::{master::Master, options::Options},
    config::model::Environment,
    release::{self, Staged, Verb, desired_state::DesiredState},
    wire::protocol::InstallTarget,
    workspace::Workspace,
};

/// Works out what going back to release `number` (the one before, if it is not named) would do. Changes nothing.
///
/// # Errors
/// There is no such release, or what it needs is gone.
pub async fn plan_rollback(
    workspace: Arc<Workspace>,
    environment: &Environment,
    number: Option<u64>,
    keep_data: bool,
    options: &Options,
) -> Result<Planned> {
    let master = Arc::new(Master::connect(workspace, environment, Duration::from_secs(5)).await?);
    let facts = master.node.facts(Some(options)).await?;
    let name = &environment.name;
    let old =
        recorded(&facts)?.ok_or_else(|| Error::new(Kind::Refused, format!("`{name}` has not run anything yet")))?;
    let now = old.release.ok_or_else(|| {
        Error::new(Kind::Refused, format!("`{name}` runs the working tree, not a release"))
            .hint("use `lap restore` to restore a snapshot")
    })?;
    let releases = watch::releases(&master).await?;
    let ledger = releases.whole_ledger()?;
    let known: Vec<u64> = releases.list.keys().copied().collect();
    let wanted = match number {
        Some(number) => number,
        None => release::before(ledger, &known, now).ok_or_else(|| {
            Error::new(Kind::Refused, format!("there is no release before {now} on `{name}`"))
                .hint("`lap release list` shows them")
        })?,
    };
    let target = releases.release(name, wanted)?.clone();
    if wanted == now {
        return Err(Error::new(Kind::Refused, format!("`{name}` runs release {now} already")));
    }
    let changes = compare(&target, &old, &facts);
    let desired = DesiredState::from(target.clone());
    let gone = desired.removed_containers(&facts);
    if !gone.is_empty() {
        return Err(Error::new(
            Kind::Refused,
            format!("images of release {wanted} no longer exist: `{}`", gone.join("`, `")),
        )
        .hint(format!("check out {} and promote it again", target.commit)));
    }
    if !facts.installed.contains_key(&format!("env/{}", target.env)) {
        return Err(Error::new(Kind::Refused, format!("the environment's files of release {wanted} no longer exist"))
            .hint(format!("check out {} and promote it again", target.commit)));
    }
    let data = release::data_of(ledger, &known, wanted);
    let mut notes = Vec::new();
    let data = match data {
        _ if keep_data => None,
        Some(id) => Some(id),
        None => {
            notes.push(format!("there is no snapshot of the data of release {wanted}: the data does not change"));
            None
        }
    };
    // The names and certificates of what runs then; the rest of the lab is as the workspace has it now.
    let contents = master.contents(&desired);
    let mut staged = stage(&contents, &desired, &changes, &facts)?;
    if !changes.is_empty()
        && contents
            .wished(&desired, &facts)?
            .files
            .iter()
            .any(|(path, hash)| path.starts_with("names/") && facts.installed.get(path) != Some(hash))
    {
        staged.push((Staged::Names, contents.files(&InstallTarget::Names, None)?));
    }
    let git = git::back(&master, &facts, &target, now).await?;
    Ok(Planned {
        verb: Verb::Rollback,
        master,
        from: None,
        target,
        old,
        facts,
        changes,
        data,
        environment: None,
        checks: None,
        places: Vec::new(),
        staged,
        git,
        ledger: ledger.to_vec(),
        notes,
    })
}
