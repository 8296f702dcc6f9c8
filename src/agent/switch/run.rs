//! Begins a switch, or brings an interrupted one to its end.

use std::path::Path;

use lap_base::{
    clock::now,
    error::{Error, Kind, OrError, Result},
};
use lap_snapshots::Id;

use super::{
    measure::Measure,
    record::{Phase, SwitchRecord},
    staged,
    transaction::{Switch, SwitchResult},
    watch::SwitchWatch,
};
use crate::{
    agent::{docker, pool::reserve, recorded, snapshots, system::blocking::run_blocking},
    release::{SwitchOrder, Verb, manifest::identity},
    wire::paths,
};

/// Does it.
///
/// # Errors
/// Nothing was begun; or it could not even be taken back: then [`recover`] goes on with it.
pub async fn run(
    order: SwitchOrder,
    by: String,
    fence: u64,
    watch: SwitchWatch,
    note: Box<dyn Fn(&str) + Send + Sync>,
) -> Result<SwitchResult> {
    // The record, and the snapshot before the switch, are on the disk that may be full.
    let _room = run_blocking(|| Ok(reserve::open())).await?;
    let docker = docker::connect().await?;
    let found = run_blocking(|| Ok(recorded::read(Path::new(paths::STATE)))).await?;
    // Who made which release is written down by every switch, and the number must be one that no release had.
    found.chain.as_ref().map_err(|why| Error::from(why.clone()))?;
    let next = found.next_number();
    let old = found.current.value_or_refuse()?;
    if identity(old.as_ref()) != order.expects {
        return Err(Error::new(Kind::Refused, "the environment changed after this was planned")
            .hint("run the command again: it makes a new plan"));
    }
    if order.verb == Verb::Promote && order.number < next {
        return Err(Error::new(Kind::Refused, format!("release {} exists already", order.number))
            .hint("run the command again: it makes a new plan"));
    }
    for make in &order.start {
        let image = make.body.image.as_deref().unwrap_or_default();
        let there = docker.inspect_image(image).await;
        there.or_error(Kind::Refused, || format!("the image of `{}` is not on the node", make.name))?;
    }
    // Since it was brought, somebody may have pruned.
    for (dir, key) in [(paths::ENV, "env"), (paths::CHECKS, "checks")] {
        let digest = order.release.get(key).and_then(|digest| digest.as_str()).unwrap_or_default();
        if !digest.is_empty() && !Path::new(dir).join(digest).is_dir() {
            return Err(Error::new(Kind::Refused, format!("`{dir}/{digest}` is not on the node"))
                .hint("run the command again: it transfers what is missing"));
        }
    }
    let running = docker::containers(&docker).await?.into_iter().filter(|fact| fact.state == "running");
    let mut ran: Vec<(i64, String)> =
        running.filter(|fact| order.stop.contains(&fact.name)).map(|fact| (fact.created, fact.name)).collect();
    ran.sort();
    let (before, failed) = snapshots::two_names()?;
    let staged = staged::inodes(&order.staged)?;
    let ran = ran.into_iter().map(|(_, name)| name).collect();
    let record = SwitchRecord {
        order,
        fence,
        by,
        began: now(),
        phase: Phase::Open,
        old: old.map(|old| serde_json::json!(old)),
        ran,
        before,
        failed,
        staged,
        away: None,
        moved: false,
        checks: 0,
        outage: Vec::new(),
    };
    let measure = Measure::begin(&record.replaced(), record.old.as_ref()).await;
    let mut switch = Switch { docker, record, watch, measure, note };
    switch.step("record the planned steps")?;
    switch.record.write()?;
    let made = match switch.forward().await {
        Ok(()) => switch.commit(),
        Err(error) => Err(error),
    };
    match made {
        Ok(()) => switch.finish().await,
        Err(error) => switch.undo(error).await,
    }
}

/// Whether [`recover`] has something to do.
pub fn is_pending() -> bool {
    SwitchRecord::exists()
}

/// The snapshots that a switch under way goes back to, or is about to make.
///
/// # Errors
/// The record cannot be read.
pub fn named() -> Result<Vec<Id>> {
    let record = SwitchRecord::read()?;
    Ok(record
        .into_iter()
        .flat_map(|record| [Some(record.before), Some(record.failed), record.order.data])
        .flatten()
        .collect())
}

/// Brings what was interrupted to its end; says which. Docker must answer, and the data be whole (`recovery::settle`). `watch` hears of
/// each step, and the log with `tell`.
///
/// # Errors
/// It cannot be done now; call it again.
pub async fn recover(watch: &SwitchWatch, tell: bool) -> Result<Option<String>> {
    let Some(record) = run_blocking(SwitchRecord::read).await? else { return Ok(None) };
    let _room = run_blocking(|| Ok(reserve::open())).await?;
    let note: Box<dyn Fn(&str) + Send + Sync> =
        if tell { Box::new(|step| eprintln!("agent: switch: {step}")) } else { Box::new(|_| {}) };
    let (number, phase) = (record.order.number, record.phase.clone());
    let measure = Measure::interrupted(&record.replaced());
    let mut switch = Switch { docker: docker::connect().await?, record, watch: watch.clone(), measure, note };
    if phase == Phase::Committed {
        switch.finish().await?;
        return Ok(Some(format!("the switch to release {number} was interrupted, and is complete now")));
    }
    let why = match phase {
        Phase::Back(why) => why,
        _ => "it was interrupted".to_owned(),
    };
    switch.undo(Error::new(Kind::Interrupted, why)).await?;
    Ok(Some(format!("the switch to release {number} was interrupted, and was taken back; the old release runs again")))
}
