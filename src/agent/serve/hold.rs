//! A connection that holds the lock.

use lap_base::clock::now;
use tokio::io::AsyncBufReadExt;

use super::agent::Agent;
use crate::{
    agent::{
        pool::reserve,
        recovery::settle,
        snapshots,
        system::{
            blocking::run_blocking,
            stream::{Connection, say},
        },
    },
    wire::protocol::{Holder, Note, Response},
};

/// Holds the lock until the connection ends; writes down what the holder says.
pub async fn hold(agent: &Agent, mut stream: Connection, holder: Holder, wait: bool) {
    let grant = match agent.granted(&mut stream, &holder, wait).await {
        Ok(Some(grant)) => grant,
        Ok(None) => return,
        Err(error) => return say(&mut stream, &error.into()).await,
    };
    let fence = grant.fence;
    // The journal is on the same disk, and the command may be what makes room.
    let _room = run_blocking(|| Ok(reserve::open_for_client())).await;
    let begun = match agent.journal(|journal| journal.begin(fence, holder, now())) {
        // Whatever is half done comes to its end before anybody builds on it.
        Ok(()) if snapshots::is_pending() || crate::agent::switch::is_pending() => run_blocking(settle).await,
        begun => begun,
    };
    if let Err(error) = begun {
        return say(&mut stream, &error.into()).await;
    }
    say(&mut stream, &Response::Locked { fence }).await;
    let mut line = String::new();
    while matches!(stream.read_line(&mut line).await, Ok(1..)) {
        if let Ok(note) = serde_json::from_str::<Note>(&line) {
            let end = matches!(note, Note::End(_));
            if let Err(error) = agent.journal(|journal| journal.note(fence, note, now())) {
                return say(&mut stream, &error.into()).await;
            }
            if end {
                drop(grant);
                return say(&mut stream, &Response::Done).await;
            }
        }
        line.clear();
    }
    drop(grant);
    if let Err(error) = agent.journal(|journal| journal.lost(fence, now())) {
        eprintln!("agent: {error}");
    }
}
