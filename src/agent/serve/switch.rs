//! The requests about switches: begin one, watch one, have one taken back.

use lap_base::{
    clock::now,
    error::{Error, Kind, OrError, Result},
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::agent::Agent;
use crate::{
    agent::{
        recovery::settle,
        switch::{SwitchWatch, WatchCursor, run},
        system::stream::{Connection, say},
    },
    release::SwitchOrder,
    wire::protocol::{Holder, Note, Response},
};

/// Begins one, and watches it. It goes on when the connection ends.
pub async fn begin(agent: &Agent, mut stream: Connection, holder: Holder, wait: bool, order: SwitchOrder) {
    let grant = match agent.granted(&mut stream, &holder, wait).await {
        Ok(Some(grant)) => grant,
        Ok(None) => return,
        Err(error) => return say(&mut stream, &error.into()).await,
    };
    let watch = SwitchWatch::default();
    agent.switch.set(watch.clone());
    let (agent, watched, fence) = (agent.clone(), watch.clone(), grant.fence);
    tokio::spawn(async move {
        let work = async {
            agent.journal(|journal| journal.begin(fence, holder.clone(), now()))?;
            crate::agent::system::blocking::run_blocking(settle).await?;
            let journal = agent.clone();
            let note = move |text: &str| {
                let _ = journal.journal(|journal| journal.note(fence, Note::Step(text.to_owned()), now()));
            };
            run(order, holder.who.clone(), fence, watched.clone(), Box::new(note)).await
        };
        let result = work.await;
        let end = match &result {
            Ok((entry, _)) => match &entry.result {
                crate::release::SwitchOutcome::Done => Ok(()),
                crate::release::SwitchOutcome::TakenBack { why, .. } => Err(format!("taken back: {why}")),
            },
            Err(error) => Err(error.message.clone()),
        };
        let _ = agent.journal(|journal| journal.note(fence, Note::End(end), now()));
        drop(grant);
        watched.end(match result {
            Ok((entry, hash)) => Response::Switched { entry: Box::new(entry), hash },
            Err(error) => error.into(),
        });
    });
    follow(stream, watch).await;
}

/// Watches the one that is under way.
pub async fn watch(agent: &Agent, mut stream: Connection) {
    match running(agent) {
        Ok(watch) => follow(stream, watch).await,
        Err(error) => say(&mut stream, &error.into()).await,
    }
}

/// Has the one that is under way taken back.
pub fn abort(agent: &Agent, by: &str) -> Result<Response> {
    running(agent)?.abort(format!("`{by}` aborted it"));
    Ok(Response::Done)
}

fn running(agent: &Agent) -> Result<SwitchWatch> {
    agent.switch.running().ok_or_else(|| Error::new(Kind::Refused, "no promotion and no rollback is in progress"))
}

/// Tells what happens, and takes the answer to what is asked.
async fn follow(stream: Connection, watch: SwitchWatch) {
    let mut here = Some(watch.watcher());
    let (read, mut write) = tokio::io::split(stream);
    let mut replies = BufReader::new(read).lines();
    let mut seen = WatchCursor::default();
    loop {
        tokio::select! {
            answer = watch.next(&mut seen) => {
                let over = !matches!(answer, Response::Step { .. } | Response::Asked { .. });
                let Ok(mut line) = serde_json::to_vec(&answer).or_error(Kind::Other, || "answer".into()) else { return };
                line.push(b'\n');
                if write.write_all(&line).await.is_err() || over {
                    return;
                }
            }
            line = replies.next_line(), if here.is_some() => match line {
                Ok(Some(line)) => {
                    if let Ok(reply) = serde_json::from_str(&line) {
                        watch.reply(reply);
                    }
                }
                // Nobody who answers any more, though somebody may still listen: who went away is found when told something.
                _ => here = None,
            },
        }
    }
}
