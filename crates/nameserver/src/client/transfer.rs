//! Transfer of a whole zone (AXFR, RFC 5936).

use std::net::SocketAddr;

use hickory_server::proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};
use lap_base::{Error, Kind, Result};

use super::{exchange::Exchange, update::UpdateOutcome};
use crate::{keys::KeyEntry, records};

/// The maximum number of records. Zones of a lab are smaller. The limit protects the memory from a faulty server.
const MOST: usize = 1_000_000;

/// One record of a transferred zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct TransferredRecord {
    /// The owner's name: fully qualified, with its final dot, in lower case.
    pub name: String,
    /// The time in seconds for which a resolver may cache the record.
    pub ttl: u32,
    /// The type: `A`, `CNAME`, …
    #[serde(rename = "type")]
    pub rtype: String,
    /// The data, as in a zone file.
    pub data: String,
}

/// Returns every record of `zone` at `server`. A transfer begins and ends with the SOA; the result contains it once, at
/// the start. The inner `Err` is the reason why the server refuses the transfer.
///
/// # Errors
/// [`Kind::Host`]: the server does not answer, or the transfer is incomplete.
pub async fn transfer(
    server: SocketAddr,
    key: &KeyEntry,
    zone: &Name,
) -> Result<Result<Vec<TransferredRecord>, UpdateOutcome>> {
    let mut request = Message::query();
    request.metadata.recursion_desired = false;
    request.add_query(Query::query(zone.clone(), RecordType::AXFR));
    let mut asked = Exchange::send(server, request, Some(key)).await?;
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
