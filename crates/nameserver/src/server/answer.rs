//! From a question to its reply, as far as our own zones can say. Pure, and the only place that answers for them.

use super::{
    reply::{ReplyWriter, Section},
    wire::{HEADER, IN, Name, Query, rcode, rtype},
    zones::{Apex, Lookup, Zones},
};

/// How many aliases (CNAME) are followed from one question.
const MAX_CHAIN: usize = 8;

/// What is to be done about a question.
#[derive(Debug, PartialEq, Eq)]
pub enum AnswerVerdict {
    /// Send what was written.
    Reply,
    /// What was written is a draft: the name, or the last alias in it, is not ours. Ask the upstreams and append
    /// (see [`super::forward`]).
    Forward,
}

/// Answers a question into `out`, in at most `limit` bytes. `recursion`: there are upstreams to ask for what is not ours.
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
        // RFC 8482, section 4.2: nobody needs ANY from a forwarder but attackers who want long replies to short questions.
        reply.record(Section::Answer, HEADER, rtype::HINFO, 3600, b"\x07RFC8482\x00");
        reply.finish(rcode::NOERROR);
        return AnswerVerdict::Reply;
    }
    if recursion && query.recursion_desired() {
        reply.finish(rcode::NOERROR);
        return AnswerVerdict::Forward;
    }
    // Nobody to ask is a matter of how this server is set up, not a failure: REFUSED makes a client go to its next server
    // at once, SERVFAIL would make it try again and remember.
    reply.finish(rcode::REFUSED);
    AnswerVerdict::Reply
}

/// The code for questions nobody here answers, whatever the name.
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

/// Writes the records of a name of ours and follows its aliases; the code, and whether the last alias leads out of our zones.
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
            // RFC 8482, section 4.1: one set of those there are.
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

/// The zone's SOA beside "no": its name is the end of the name that was asked for, so it is a pointer into that.
fn negative(apex: &Apex, name: &Name, owner: usize, reply: &mut ReplyWriter) {
    let at = owner + name.len() - apex.name.len();
    reply.record(Section::Authority, at, rtype::SOA, apex.negative_ttl, &apex.soa);
}
