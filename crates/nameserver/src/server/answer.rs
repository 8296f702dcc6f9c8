//! From a question to its reply, as far as our own zones can say. Pure, and the only place that answers for them.

use super::{
    reply::{Reply, Section},
    wire::{HEADER, IN, Name, Query, rcode, rtype},
    zones::{Apex, Found, Zones},
};

/// How many aliases (CNAME) are followed from one question.
const MAX_CHAIN: usize = 8;

/// What is to be done about a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send what was written.
    Reply,
    /// What was written is a draft: the name, or the last alias in it, is not ours. Ask the upstreams and append
    /// (see [`super::forward`]).
    Forward,
}

/// Answers a question into `out`, in at most `limit` bytes. `recursion`: there are upstreams to ask for what is not ours.
pub fn answer(zones: &Zones, recursion: bool, query: &Query, limit: usize, out: &mut Vec<u8>) -> Verdict {
    let mut reply = Reply::new(query, limit, out);
    if recursion {
        reply.recursion_available();
    }
    if let Some(code) = unanswerable(query) {
        reply.finish(code);
        return Verdict::Reply;
    }
    let found = zones.find(&query.name);
    if !matches!(found, Found::Outside) {
        reply.authoritative();
        let (code, outside) = walk(zones, found, query, &mut reply);
        reply.finish(code);
        return if outside && recursion && query.recursion_desired() { Verdict::Forward } else { Verdict::Reply };
    }
    if query.qtype == rtype::ANY {
        // RFC 8482, section 4.2: nobody needs ANY from a forwarder but attackers who want long replies to short questions.
        reply.record(Section::Answer, HEADER, rtype::HINFO, 3600, b"\x07RFC8482\x00");
        reply.finish(rcode::NOERROR);
        return Verdict::Reply;
    }
    if recursion && query.recursion_desired() {
        reply.finish(rcode::NOERROR);
        return Verdict::Forward;
    }
    // Nobody to ask is a matter of how this server is set up, not a failure: REFUSED makes a client go to its next server
    // at once, SERVFAIL would make it try again and remember.
    reply.finish(rcode::REFUSED);
    Verdict::Reply
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
fn walk(zones: &Zones, first: Found, query: &Query, reply: &mut Reply) -> (u16, bool) {
    let mut found = first;
    let mut name: Name = query.name.clone();
    let mut owner = HEADER;
    for _ in 0..MAX_CHAIN {
        let (apex, node) = match found {
            Found::Outside => return (rcode::NOERROR, true),
            Found::Missing(apex) => {
                negative(apex, &name, owner, reply);
                return (rcode::NXDOMAIN, false);
            }
            Found::Node(apex, node) => (apex, node),
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
fn negative(apex: &Apex, name: &Name, owner: usize, reply: &mut Reply) {
    let at = owner + name.len() - apex.name.len();
    reply.record(Section::Authority, at, rtype::SOA, apex.negative_ttl, &apex.soa);
}
