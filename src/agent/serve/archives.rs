//! Snapshots that leave the node, and that come to it.

use lap_base::{clock::now, error::Result};
use lap_snapshots::Id;

use super::agent::Agent;
use crate::{
    agent::{
        clone_data,
        recovery::settle,
        snapshots::{self, archive},
        system::{
            blocking::run_blocking,
            stream::{Connection, say},
        },
    },
    wire::protocol::{Bring, Holder, Note, Response},
};

/// Sends one as btrfs does, or as an archive.
pub async fn send(stream: &mut Connection, id: &Id, parent: Option<&Id>, archive: bool) -> Result<Response> {
    let (meta, held) = clone_data::find(id, parent)?;
    let source = if archive { archive::pack(&meta)? } else { clone_data::pack(id, parent)? };
    say(stream, &Response::Exporting { meta }).await;
    let sent = source.send(stream).await;
    drop(held);
    sent
}

/// Sends one as an archive.
pub async fn export(stream: &mut Connection, id: &str) -> Result<Response> {
    let id = id.to_owned();
    let meta = run_blocking(move || snapshots::find(&id)).await?;
    let source = archive::pack(&meta)?;
    say(stream, &Response::Exporting { meta }).await;
    source.send(stream).await
}

/// Its end is the connection's: who sends an archive has to be there.
pub async fn import(agent: &Agent, stream: &mut Connection, holder: Holder, wait: bool) -> Result<Response> {
    let Some(grant) = agent.granted(stream, &holder, wait).await? else { return Ok(Response::Done) };
    let fence = grant.fence;
    agent.journal(|journal| journal.begin(fence, holder, now()))?;
    say(stream, &Response::Ready).await;
    let result = match run_blocking(settle).await {
        Ok(()) => archive::import(stream).await,
        Err(error) => Err(error),
    };
    let end = result.as_ref().map(|_| ()).map_err(|error| error.message.clone());
    agent.journal(|journal| journal.note(fence, Note::End(end), now()))?;
    drop(grant);
    result
}

/// While it comes, its end is the connection's; after that the agent does the rest by itself.
pub async fn clone_data(
    agent: &Agent,
    mut stream: Connection,
    (holder, wait): (Holder, bool),
    sent: bool,
    bring: Bring,
) {
    let grant = match agent.granted(&mut stream, &holder, wait).await {
        Ok(Some(grant)) => grant,
        Ok(None) => return,
        Err(error) => return say(&mut stream, &error.into()).await,
    };
    if sent {
        say(&mut stream, &Response::Ready).await;
        if let Err(error) = clone_data::receive(&bring, &mut stream).await {
            return say(&mut stream, &error.into()).await;
        }
    }
    agent.run_with_steps(stream, grant, holder, move |by, note| clone_data::run(by, &bring, note)).await;
}
