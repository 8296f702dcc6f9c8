//! The request to prune.

use lap_base::{
    clock::now,
    error::{Kind, OrError, Result},
};
use tokio::sync::mpsc;

use super::agent::Agent;
use crate::{
    agent::{
        prune::{self, OnStep},
        recovery::settle,
        system::{
            blocking::run_blocking,
            failpoint,
            stream::{Connection, say},
        },
    },
    wire::{
        protocol::{Holder, Note, Response},
        prune::{PruneDecision, PruneRules},
    },
};

/// Decides and, unless it is a `dry_run`, does it. Goes on when the connection ends.
pub async fn prune(
    agent: &Agent,
    mut stream: Connection,
    holder: Holder,
    wait: bool,
    (dry_run, rules): (bool, PruneRules),
) {
    if dry_run {
        // No lock: nothing is changed.
        let answer = prune::look_and_decide(&rules).await.map(|decisions| Response::Swept { decisions });
        return say(&mut stream, &answer.unwrap_or_else(Response::from)).await;
    }
    let grant = match agent.granted(&mut stream, &holder, wait).await {
        Ok(Some(grant)) => grant,
        Ok(None) => return,
        Err(error) => return say(&mut stream, &error.into()).await,
    };
    let (told, mut steps) = mpsc::unbounded_channel();
    let (agent, fence) = (agent.clone(), grant.fence);
    let work = tokio::spawn(async move {
        agent.journal(|journal| journal.begin(fence, holder, now()))?;
        let journal = agent.clone();
        let tell: OnStep = Box::new(move |text| {
            let _ = journal.journal(|journal| journal.note(fence, Note::Step(text.to_owned()), now()));
            let _ = told.send(text.to_owned());
            failpoint::at(text);
        });
        let result = settle_and_run(&rules, &tell).await;
        let end = result.as_ref().map(|_| ()).map_err(|error| error.message.clone());
        agent.journal(|journal| journal.note(fence, Note::End(end), now()))?;
        drop(grant);
        result
    });
    while let Some(text) = steps.recv().await {
        say(&mut stream, &Response::Step { text }).await;
    }
    let answer = work.await.or_error(Kind::Other, || "the agent".into()).and_then(|done| done);
    say(&mut stream, &answer.map_or_else(Response::from, |decisions| Response::Swept { decisions })).await;
}

async fn settle_and_run(rules: &PruneRules, tell: &OnStep) -> Result<Vec<PruneDecision>> {
    run_blocking(settle).await?;
    prune::run(rules, tell).await
}
