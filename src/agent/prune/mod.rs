//! Removes what nobody needs any more: looks, has [`crate::plan::prune`] decide, and does it, all of that under the lock, so that what
//! was decided is still right when it is done. Killed anywhere, what is left is whole, and the next one goes on.

mod act;
mod docker;
mod look;
pub mod registry;

use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

use super::{
    checks, facts, failpoint,
    serve::{Agent, Connection, say},
    snapshots,
};
use crate::{
    clock::now,
    error::{Error, Kind, OrError, Result},
    plan::prune::decide,
    wire::{
        paths,
        protocol::{Answer, Holder, Note},
        prune::{Decision, Rules},
    },
};

/// Tells a step as it begins.
type Tell = Box<dyn Fn(&str) + Send + Sync>;

/// The registry's data; it need not be there.
fn registry_data() -> PathBuf {
    Path::new(paths::DATA).join("registry")
}

/// Puts back the layers that an interrupted prune had set aside: at the agent's start before anybody asks the registry, and until it is done.
///
/// # Errors
/// The disk says why.
pub fn recover() -> Result<()> {
    if is_pending() { registry::put_all_back(&registry_data()) } else { Ok(()) }
}

/// At the agent's start: [`recover`], and the same for what an earlier lap set aside in another place.
///
/// # Errors
/// The disk says why.
pub fn recover_at_start() -> Result<()> {
    recover().and(registry::take_over(&registry_data()))
}

/// Whether [`recover`] has something to do.
pub fn is_pending() -> bool {
    registry::is_set_aside(&registry_data())
}

impl Agent {
    /// Decides and, unless it is a `dry_run`, does it. Goes on when the connection ends.
    pub(in crate::agent) async fn prune(
        &self,
        mut stream: Connection,
        holder: Holder,
        wait: bool,
        (dry_run, rules): (bool, Rules),
    ) {
        if dry_run {
            // No lock: who only looks changes nothing.
            let answer = look_and_decide(&rules).await.map(|decisions| Answer::Swept { decisions });
            return say(&mut stream, &answer.unwrap_or_else(Answer::from)).await;
        }
        let grant = match self.granted(&mut stream, &holder, wait).await {
            Ok(Some(grant)) => grant,
            Ok(None) => return,
            Err(error) => return say(&mut stream, &error.into()).await,
        };
        let (told, mut steps) = mpsc::unbounded_channel();
        let (agent, fence) = (self.clone(), grant.fence);
        let work = tokio::spawn(async move {
            agent.journal(|journal| journal.begin(fence, holder, now()))?;
            let journal = agent.clone();
            let tell: Tell = Box::new(move |text| {
                let _ = journal.journal(|journal| journal.note(fence, Note::Step(text.to_owned()), now()));
                let _ = told.send(text.to_owned());
                failpoint::at(text);
            });
            let result = whole(&rules, &tell).await;
            let end = result.as_ref().map(|_| ()).map_err(|error| error.message.clone());
            agent.journal(|journal| journal.note(fence, Note::End(end), now()))?;
            drop(grant);
            result
        });
        while let Some(text) = steps.recv().await {
            say(&mut stream, &Answer::Step { text }).await;
        }
        let answer = work.await.or_error(Kind::Other, || "the agent".into()).and_then(|done| done);
        say(&mut stream, &answer.map_or_else(Answer::from, |decisions| Answer::Swept { decisions })).await;
    }
}

async fn whole(rules: &Rules, tell: &Tell) -> Result<Vec<Decision>> {
    tokio::task::spawn_blocking(snapshots::settle).await.or_error(Kind::Other, || "the agent".into())??;
    tell("list what exists");
    let decisions = look_and_decide(rules).await?;
    act::act(decisions, rules, tell).await
}

async fn look_and_decide(rules: &Rules) -> Result<Vec<Decision>> {
    let docker = facts::docker().await?;
    // While checks run, their containers are theirs.
    let idle = checks::idle();
    let found = look::look(&docker, idle.is_some()).await?;
    if found.current.is_none() {
        return Err(Error::new(
            Kind::Refused,
            "nothing can be removed, because the node has no record of what should run",
        )
        .hint("`lap up` records it"));
    }
    Ok(decide(&found, rules, now()))
}
