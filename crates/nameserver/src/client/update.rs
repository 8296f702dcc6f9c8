//! Dynamic updates (RFC 2136).

use std::net::SocketAddr;

use hickory_server::proto::{
    op::{Message, OpCode, Query, ResponseCode, UpdateMessage},
    rr::{DNSClass, Name, RData, Record, RecordType, rdata::tsig::TsigError},
};
use lap_base::{Error, Kind, Result};

use super::exchange::{DnsReply, Exchange};
use crate::keys::KeyEntry;

/// One change of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordChange {
    /// Adds a record. If the record exists already, it gets this TTL.
    Add { name: Name, ttl: u32, data: RData },
    /// Removes one record.
    Remove { name: Name, data: RData },
    /// Removes all records of one type.
    RemoveType { name: Name, rtype: RecordType },
    /// Removes all records of a name.
    RemoveName { name: Name },
}

/// A prerequisite of an update (RFC 2136, section 2.4): the name has records of this type or, with [`RecordType::ANY`],
/// the name exists. Otherwise the server changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    pub name: Name,
    pub rtype: RecordType,
}

/// The result of a request, as the server reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdateOutcome {
    Done,
    /// The server rejected the key or the signature.
    Key(TsigError),
    /// The server accepted the key, and refuses the request for this reason.
    Code(ResponseCode),
}

impl UpdateOutcome {
    pub(super) fn of(reply: &DnsReply) -> Self {
        match (&reply.key_error, reply.message.metadata.response_code) {
            (Some(error), _) => Self::Key(*error),
            (None, ResponseCode::NoError) => Self::Done,
            (None, code) => Self::Code(code),
        }
    }

    /// Returns an error with the meaning of a refusal and the next step. `what` begins the sentence: "cannot add
    /// `a.internal.`".
    pub fn error(&self, what: &str, key: &str) -> Error {
        let refused = |why: &str| Error::new(Kind::Refused, format!("{what}: {why}"));
        let keys = |why: String| {
            Error::new(Kind::Keys, format!("{what}: {why}"))
                .hint("run `lap up` to install this workspace's keys on the server")
        };
        match self {
            Self::Done => Error::new(Kind::Other, format!("{what}: no error")),
            Self::Key(TsigError::BadKey) => keys(format!("the server does not know the key `{key}`")),
            Self::Key(TsigError::BadTime) => Error::new(
                Kind::Host,
                format!("{what}: this machine's clock and the server's differ by more than five minutes"),
            )
            .hint("set both clocks, e.g. with `timedatectl set-ntp true`"),
            Self::Key(_) => keys(format!("the server has another secret for the key `{key}`")),
            Self::Code(ResponseCode::Refused) => refused(&format!("the key `{key}` does not have the right"))
                .hint(
                    "`lap dns key list` shows the rights of each key; run `lap up` to install this workspace's keys on the server",
                ),
            Self::Code(ResponseCode::NotAuth) => {
                refused("the server is not authoritative for this zone").hint("run `lap up` to install its zones")
            }
            Self::Code(ResponseCode::NotZone) => refused("the name is not in the zone"),
            Self::Code(ResponseCode::NotImp) => {
                refused("the server accepts no updates").hint("run `lap up` to install one that does")
            }
            Self::Code(ResponseCode::ServFail) => {
                Error::new(Kind::Node, format!("{what}: the server cannot store it")).hint("`lap logs ENVIRONMENT/dns` shows the reason")
            }
            Self::Code(ResponseCode::FormErr) => refused("the server does not understand the update"),
            Self::Code(ResponseCode::NXDomain | ResponseCode::NXRRSet) => refused("the record does not exist"),
            Self::Code(ResponseCode::YXDomain | ResponseCode::YXRRSet) => refused("the record exists already"),
            Self::Code(code) => refused(&format!("the server answers {code:?}")),
        }
    }
}

/// Sends an update of `zone` to `server`. The server makes all changes or none. If one of `needs` is not met, the
/// result is [`ResponseCode::NXDomain`] or [`ResponseCode::NXRRSet`].
///
/// # Errors
/// [`Kind::Host`]: the server does not answer.
pub async fn update(
    server: SocketAddr,
    key: &KeyEntry,
    zone: &Name,
    needs: &[Need],
    changes: &[RecordChange],
) -> Result<UpdateOutcome> {
    let mut asked = Exchange::send(server, message(zone, needs, changes), Some(key)).await?;
    Ok(UpdateOutcome::of(&asked.next().await?))
}

fn message(zone: &Name, needs: &[Need], changes: &[RecordChange]) -> Message {
    let mut message = Message::query();
    message.metadata.op_code = OpCode::Update;
    message.metadata.recursion_desired = false;
    message.add_zone(Query::query(zone.clone(), RecordType::SOA));
    // RFC 2136, sections 2.4 and 2.5, define the meaning of class and TTL in an update.
    let any = |name: &Name, rtype| {
        let mut record = Record::update0(name.clone(), 0, rtype);
        record.dns_class = DNSClass::ANY;
        record.into_record_of_rdata()
    };
    needs.iter().for_each(|need| message.add_pre_requisite(any(&need.name, need.rtype)));
    for change in changes {
        message.add_update(match change {
            RecordChange::Add { name, ttl, data } => Record::from_rdata(name.clone(), *ttl, data.clone()),
            RecordChange::Remove { name, data } => {
                let mut record = Record::from_rdata(name.clone(), 0, data.clone());
                record.dns_class = DNSClass::NONE;
                record
            }
            RecordChange::RemoveType { name, rtype } => any(name, *rtype),
            RecordChange::RemoveName { name } => any(name, RecordType::ANY),
        });
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    /// The classes and TTLs of RFC 2136, section 2.5, in wire format.
    #[test]
    fn changes_have_the_classes_and_ttls_of_the_rfc() {
        let (a, data) = (name("a.internal."), RData::A(std::net::Ipv4Addr::new(10, 0, 0, 1).into()));
        let changes = [
            RecordChange::Add { name: a.clone(), ttl: 60, data: data.clone() },
            RecordChange::Remove { name: a.clone(), data },
            RecordChange::RemoveType { name: a.clone(), rtype: RecordType::AAAA },
            RecordChange::RemoveName { name: a.clone() },
        ];
        let needs = [Need { name: a, rtype: RecordType::ANY }];
        let bytes = message(&name("internal."), &needs, &changes).to_vec().unwrap();
        assert_eq!(bytes[2] >> 3, 5, "the opcode is UPDATE");
        let read = Message::from_vec(&bytes).unwrap();
        assert_eq!((read.zones()[0].query_type(), read.prerequisites().len()), (RecordType::SOA, 1));
        let need = &read.prerequisites()[0];
        assert_eq!((need.dns_class, need.ttl, need.record_type()), (DNSClass::ANY, 0, RecordType::ANY));
        let rows: Vec<_> = read.updates().iter().map(|r| (r.dns_class, r.ttl, r.record_type())).collect();
        assert_eq!(
            rows,
            [
                (DNSClass::IN, 60, RecordType::A),
                (DNSClass::NONE, 0, RecordType::A),
                (DNSClass::ANY, 0, RecordType::AAAA),
                (DNSClass::ANY, 0, RecordType::ANY),
            ]
        );
    }

    #[test]
    fn a_refusal_gives_a_sentence_and_a_next_step() {
        for (outcome, want) in [
            (UpdateOutcome::Key(TsigError::BadKey), "cannot add `a`: the server does not know the key `lap-admin`"),
            (
                UpdateOutcome::Key(TsigError::BadSig),
                "cannot add `a`: the server has another secret for the key `lap-admin`",
            ),
            (UpdateOutcome::Code(ResponseCode::Refused), "cannot add `a`: the key `lap-admin` does not have the right"),
            (UpdateOutcome::Code(ResponseCode::NotImp), "cannot add `a`: the server accepts no updates"),
            (UpdateOutcome::Code(ResponseCode::ServFail), "cannot add `a`: the server cannot store it"),
        ] {
            let error = outcome.error("cannot add `a`", "lap-admin");
            assert_eq!(error.message, want);
            assert!(!error.hints.is_empty(), "{error}");
        }
    }
}
