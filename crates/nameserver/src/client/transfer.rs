//! A whole zone (AXFR, RFC 5936).

use std::net::SocketAddr;

use hickory_server::proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};
use lap_base::{Error, Kind, Result};

use super::{exchange::Asked, update::UpdateOutcome};
use crate::{keys::KeyEntry, records};

/// More is no zone of a lab: a server gone mad must not fill memory.
const MOST: usize = 1_000_000;

/// One record of a zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct TransferredRecord {
    /// Fully qualified, with its final dot, lower case.
    pub name: String,
    /// Seconds it may be remembered.
    pub ttl: u32,
    /// `A`, `CNAME`, …
    #[serde(rename = "type")]
    pub rtype: String,
    /// As in a zone file.
    pub data: String,
}

/// Every record of `zone` at `server`; `Err` inside: the server refuses, as its [`UpdateOutcome`] says. The SOA, with which a
/// transfer begins and ends, is there once.
///
/// # Errors
/// [`Kind::Host`]: the server does not answer, or the transfer breaks off.
pub async fn transfer(
    server: SocketAddr,
    key: &KeyEntry,
    zone: &Name,
) -> Result<Result<Vec<TransferredRecord>, UpdateOutcome>> {
    let mut request = Message::query();
    request.metadata.recursion_desired = false;
    request.add_query(Query::query(zone.clone(), RecordType::AXFR));
    let mut asked = Asked::send(server, request, Some(key)).await?;
    let mut rows = Vec::new();
    let mut soas = 0;
    while soas < 2 {
        let reply = asked.next().await?;
        let outcome = UpdateOutcome::of(&reply);
        if outcome != UpdateOutcome::Done {
            return Ok(Err(outcome));
        }
        let broken = |why: &str| Error::new(Kind::Host, format!("the transfer of `{zone}` from `{server}` {why}"));
        if reply.message.answers.is_empty() || reply.message.metadata.response_code != ResponseCode::NoError {
            return Err(broken("is incomplete"));
        }
        for record in &reply.message.answers {
            soas += usize::from(record.record_type() == RecordType::SOA);
            match soas {
                0 => return Err(broken("does not begin with its SOA")),
                1 => rows.push(row(record)),
                _ => break,
            }
        }
        if rows.len() > MOST {
            return Err(broken("does not end"));
        }
    }
    Ok(Ok(rows))
}

fn row(record: &Record<RData>) -> TransferredRecord {
    TransferredRecord {
        name: record.name.to_ascii().to_ascii_lowercase(),
        ttl: record.ttl,
        rtype: record.record_type().to_string(),
        data: records::shown(&record.data),
    }
}
