//! Answers a question from the server's zones. This module is pure, and no other code answers for these zones.

use super::{
    reply::{ReplyWriter, Section},
    wire::{HEADER, IN, Name, Query, rcode, rtype},
    zones::{Apex, Lookup, Zones},
};

/// The maximum number of aliases (CNAME) that one question may follow.
const MAX_CHAIN: usize = 8;

/// The next step for a question.
#[derive(Debug, PartialEq, Eq)]
pub enum AnswerVerdict {
    /// The reply is complete. Send it.
    Reply,
    /// The reply is a draft, because the name or its last alias is outside the zones. [`super::forward`] asks the
    /// upstream servers and completes it.
    Forward,
}

/// Writes the answer into `out`, in at most `limit` bytes. `recursion` says whether upstream servers may be asked.
pub fn answer(zones: &Zones, recursion: bool, query: &Query, limit: usize, out: &mut Vec<u8>) -> AnswerVerdict {
    let mut reply = ReplyWriter::new(query, limit, out);
    if recursion {
        reply.recursion_available();
    }
    if let Some(code) = unanswerable(query) {
        reply.finish(code);
        return AnswerVerdict::Reply;
    }
    let found = zones.find(&query.name);
    if !matches!(found, Lookup::Outside) {
        reply.authoritative();
        let (code, outside) = walk(zones, found, query, &mut reply);
        reply.finish(code);
        return if outside && recursion && query.recursion_desired() {
            AnswerVerdict::Forward
        } else {
            AnswerVerdict::Reply
        };
    }
    if query.qtype == rtype::ANY {
        // RFC 8482, section 4.2. Clients of a forwarder do not need ANY. Attackers use it, because its long replies
        // amplify their traffic.
        reply.record(Section::Answer, HEADER, rtype::HINFO, 3600, b"\x07RFC8482\x00");
        reply.finish(rcode::NOERROR);
        return AnswerVerdict::Reply;
    }
    if recursion && query.recursion_desired() {
        reply.finish(rcode::NOERROR);
        return AnswerVerdict::Forward;
    }
    // Without upstream servers this is a matter of configuration and not a failure. After REFUSED a client asks its
    // next server at once. After SERVFAIL it would repeat the question, and cache the failure.
    reply.finish(rcode::REFUSED);
    AnswerVerdict::Reply
}

/// Returns the response code of a question that the server never answers, whatever its name is.
fn unanswerable(query: &Query) -> Option<u16> {
    if query.edns.is_some_and(|e| e.version != 0) {
        return Some(rcode::BADVERS);
    }
    match query.qtype {
        _ if query.class != IN => Some(rcode::REFUSED),
        rtype::OPT => Some(rcode::FORMERR),
        rtype::AXFR | rtype::IXFR => Some(rcode::REFUSED),
        rtype::TKEY..rtype::IXFR | rtype::MAILB | rtype::MAILA => Some(rcode::NOTIMP),
        _ => None,
    }
}

/// Writes the records of a name in the zones and follows its aliases. Returns the response code, and whether the last
/// alias leads out of the zones.
fn walk(zones: &Zones, first: Lookup, query: &Query, reply: &mut ReplyWriter) -> (u16, bool) {
    let mut found = first;
    let mut name: Name = query.name.clone();
    let mut owner = HEADER;
    for _ in 0..MAX_CHAIN {
        let (apex, node) = match found {
            Lookup::Outside => return (rcode::NOERROR, true),
            Lookup::Missing(apex) => {
                negative(apex, &name, owner, reply);
                return (rcode::NXDOMAIN, false);
            }
            Lookup::Node(apex, node) => (apex, node),
        };
        let records = node.records();
        let kind = match query.qtype {
            // RFC 8482, section 4.1: the answer contains one of the record sets of the name.
            rtype::ANY => { records }.next().map(|r| r.rtype()),
            qtype if records.has(qtype) => Some(qtype),
            _ => records.has(rtype::CNAME).then_some(rtype::CNAME),
        };
        let Some(kind) = kind else {
            negative(apex, &name, owner, reply);
            return (rcode::NOERROR, false);
        };
        let mut at = owner;
        for record in records.of(kind) {
            at = reply.raw(Section::Answer, owner, record.bytes());
        }
        if kind != rtype::CNAME || matches!(query.qtype, rtype::CNAME | rtype::ANY) {
            return (rcode::NOERROR, false);
        }
        let target = records.of(kind).next().and_then(|r| Name::read(r.data()));
        let Some(target) = target else { return (rcode::SERVFAIL, false) };
        found = zones.find(&target);
        (name, owner) = (target, at);
    }
    (rcode::SERVFAIL, false)
}

/// Writes the SOA of the zone for a negative answer (RFC 2308). The zone's name is the end of the name in the question,
/// so the owner is a pointer into it.
fn negative(apex: &Apex, name: &Name, owner: usize, reply: &mut ReplyWriter) {
    let at = owner + name.len() - apex.name.len();
    reply.record(Section::Authority, at, rtype::SOA, apex.negative_ttl, &apex.soa);
}
