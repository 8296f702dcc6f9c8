//! Snapshots that leave the node, and that come to it.

use super::{Agent, Connection, aside, say};
use crate::{
    agent::{archive, into, snapshots},
    clock::now,
    error::Result,
    snapshot::Id,
    wire::protocol::{Answer, Bring, Holder, Note},
};

/// Sends one as btrfs does, or as an archive.
pub async fn send(stream: &mut Connection, id: &Id, parent: Option<&Id>, archive: bool) -> Result<Answer> {
    let (meta, held) = into::find(id, parent)?;
    let source = if archive { archive::pack(&meta)? } else { into::pack(id, parent)? };
    say(stream, &Answer::Exporting { meta }).await;
    let sent = source.send(stream).await;
    drop(held);
    sent
}

impl Agent {
    pub(super) async fn export(&self, stream: &mut Connection, id: &str) -> Result<Answer> {
        let id = id.to_owned();
        let meta = aside(move || snapshots::find(&id)).await?;
        let source = archive::pack(&meta)?;
        say(stream, &Answer::Exporting { meta }).await;
        source.send(stream).await
    }

    /// Its end is the connection's: who sends an archive has to be there.
    pub(super) async fn import(&self, stream: &mut Connection, holder: Holder, wait: bool) -> Result<Answer> {
        let Some(grant) = self.granted(stream, &holder, wait).await? else { return Ok(Answer::Done) };
        let fence = grant.fence;
        self.journal(|journal| journal.begin(fence, holder, now()))?;
        say(stream, &Answer::Ready).await;
        let result = match aside(snapshots::settle).await {
            Ok(()) => archive::import(stream).await,
            Err(error) => Err(error),
        };
        let end = result.as_ref().map(|_| ()).map_err(|error| error.message.clone());
        self.journal(|journal| journal.note(fence, Note::End(end), now()))?;
        drop(grant);
        result
    }

    /// While it comes, its end is the connection's; after that the agent does the rest by itself.
    pub(super) async fn into(&self, mut stream: Connection, (holder, wait): (Holder, bool), sent: bool, bring: Bring) {
        let grant = match self.granted(&mut stream, &holder, wait).await {
            Ok(Some(grant)) => grant,
            Ok(None) => return,
            Err(error) => return say(&mut stream, &error.into()).await,
        };
        if sent {
            say(&mut stream, &Answer::Ready).await;
            if let Err(error) = into::receive(&bring, &mut stream).await {
                return say(&mut stream, &error.into()).await;
            }
        }
        self.told(stream, grant, holder, move |by, note| into::run(by, &bring, note)).await;
    }
}
