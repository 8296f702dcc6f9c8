//! Another environment's snapshot in the place of this one's data. It travels through this machine, from one agent to the other,
//! as btrfs sends it or, where one of the nodes has none, as an archive; the nodes do not know each other.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lap_base::{
    error::{Error, Kind, Result},
    words::bytes,
};
use lap_snapshots::{Filesystem, Id, Meta, hooks::Scrub, none_newer};

use super::{options::Options, responses::unexpected, snapshot::Snapshots};
use crate::{
    config::model::{Environment, Lab},
    wire::protocol::{Bring, Request, Response},
    workspace::Workspace,
};

/// How much may be under way between the two.
const BETWEEN: usize = 1 << 20;

/// By container, how its data is scrubbed and how long that may take.
pub type Scrubs = BTreeMap<String, (Scrub, Duration)>;

/// What came, and what it replaced.
pub struct Brought {
    pub id: Id,
    /// The snapshot that the present became.
    pub kept: Meta,
    /// How long `/data` was away.
    pub seconds: f64,
    /// What travelled; `None`: it was there already.
    pub bytes: Option<u64>,
}

/// How each container's data is scrubbed.
///
/// # Errors
/// A container does not say.
pub fn scrubs(lab: &Lab) -> Result<Scrubs> {
    let (mut all, mut silent) = (Scrubs::new(), Vec::new());
    for container in lab.containers.values().filter(|container| container.scale > 0) {
        match container.snapshot.as_ref().and_then(|hooks| Some((hooks.scrub.clone()?, hooks.timeout))) {
            Some(scrub) => drop(all.insert(container.name.clone(), scrub)),
            None => silent.push(format!("`{}`", container.name)),
        }
    }
    if silent.is_empty() {
        return Ok(all);
    }
    let who = if silent.len() == 1 { "does not define how its data is" } else { "do not define how their data is" };
    Err(Error::new(Kind::Config, format!("{} {who} scrubbed", silent.join(", "))).hint(
        "write `scrub = \"none\"`, or a program, under `[snapshot]` in its container.toml (`lap help container.toml`)",
    ))
}

/// Which environment's snapshot is meant for `into`, if nobody says: the one that gets what was tested there.
///
/// # Errors
/// There is no such, or it is one itself.
pub fn source<'a>(lab: &'a Lab, named: Option<&'a Environment>, into: &Environment) -> Result<&'a Environment> {
    if into.promote_from.is_some() {
        return Err(Error::new(
            Kind::Refused,
            format!("`{}` runs releases: lap does not replace its data with another environment's", into.name),
        ));
    }
    let mut promoted = lab.environments.values().filter(|env| env.promote_from.as_ref() == Some(&into.name));
    match named.or_else(|| promoted.next()) {
        Some(from) if from.name == into.name => {
            Err(Error::new(Kind::Usage, format!("`{}` is both the source and the target", into.name))
                .hint("omit `--into` to restore the environment's own snapshot"))
        }
        Some(from) => Ok(from),
        None => Err(Error::new(Kind::Usage, format!("no environment takes releases from `{}`", into.name))
            .hint("name the environment of the snapshot: `lap restore SNAPSHOT ENVIRONMENT --into …`")),
    }
}

/// Brings the snapshot `id` (or `latest`) of `from` into `into`. What comes after its arrival goes on in the agent if this
/// process ends.
///
/// # Errors
/// There is no such snapshot, somebody holds the lock, a container's program failed, or what an agent says.
pub async fn into(
    workspace: Arc<Workspace>,
    (from, into): (&Environment, &Environment),
    id: &str,
    scrub: Scrubs,
    options: &Options,
) -> Result<Brought> {
    let (source, target) =
        tokio::try_join!(Snapshots::of(workspace.clone(), from), Snapshots::of(workspace.clone(), into))?;
    let mut archive = false;
    for side in [&source, &target] {
        archive |= side.facts(options).await?.data.filesystem != Filesystem::Btrfs.name();
    }
    let (known, damaged) = source.list_all(false).await?;
    let known: Vec<Id> = known.into_iter().map(|listed| listed.meta.id).collect();
    let wanted = match id {
        "latest" => {
            none_newer(&damaged)?;
            known.last()
        }
        id => known.iter().find(|known| known.to_string() == id),
    };
    let wanted = wanted.cloned().ok_or_else(|| {
        Error::new(Kind::Usage, format!("`{}` has no snapshot `{id}`", from.name))
            .hint(format!("`lap snapshot list {}` shows them", from.name))
    })?;
    let there = match target.client().ask(&Request::ListReceived { from: from.name.clone() }, &[]).await? {
        Response::Received { list } => list,
        other => return Err(unexpected(&other)),
    };
    let bring = Bring { from: from.name.clone(), id: wanted.clone(), scrub, archive };
    let sent = !there.contains(&wanted);
    let request = Request::IntoSnapshot { holder: options.holder(), wait: options.wait, sent, bring };
    let parent = known.into_iter().rfind(|id| !archive && there.contains(id));
    let (busy, events) = (target.busy(options), options.events.clone());
    let step = |text: &str| events.note(format!("  {text}"));
    let mut travelled = None;
    let answer = if sent {
        let how = parent.as_ref().map_or_else(|| "whole".into(), |parent| format!("the differences from {parent}"));
        events.note(format!("  sending {wanted} of `{}`, {how}", from.name));
        let (inlet, outlet) = tokio::io::duplex(BETWEEN);
        let send = Request::SendSnapshot { id: wanted.clone(), parent, archive };
        let reading = async { source.client().export(&send, inlet).await };
        let writing = target.client().bring(&request, options.wait, busy, step, outlet);
        tokio::pin!(reading, writing);
        let mut ended = None;
        let answer = loop {
            tokio::select! {
                // What broke off is never taken for the end: the other side is not asked again.
                read = &mut reading, if ended.is_none() => {
                    let (meta, size) = read?;
                    let left = meta.nested.left_behind("not copied to another environment");
                    left.complaints().iter().for_each(|why| events.note(format!("  {why}")));
                    events.note(format!("  {} came", bytes(size)));
                    ended = Some(size);
                }
                answer = &mut writing => break answer?,
            }
        };
        travelled = ended;
        answer
    } else {
        target.client().work(&request, options.wait, busy, step).await?
    };
    match answer {
        Response::Restored { kept, micros, .. } => {
            Ok(Brought { id: wanted, kept, seconds: micros as f64 / 1e6, bytes: travelled })
        }
        other => Err(unexpected(&other)),
    }
}
