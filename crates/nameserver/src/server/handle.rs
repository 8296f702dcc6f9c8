//! Classifies a message (question, update, transfer; signed or not) and decides the next step. This module does no I/O.

use std::net::IpAddr;

use super::{
    access::Networks,
    answer::{AnswerVerdict, answer},
    audit::Audit,
    keyring::Keyring,
    reply::{Transport, header_only},
    store::unix,
    transfer::{self, Transfer},
    tsig::{self, Signed, Signer},
    update,
    wire::{self, HEADER, IN, Query, opcode, rcode, rtype},
    zones::Zones,
};

/// The state that a decision depends on.
#[derive(Clone, Copy)]
pub struct RequestContext<'a> {
    pub zones: &'a Zones,
    pub keys: &'a Keyring,
    pub clients: &'a Networks,
    /// Whether there are upstream servers.
    pub recursion: bool,
    pub audit: &'a Audit,
}

/// The next step for a message.
#[derive(Debug)]
pub enum Disposition {
    /// Send the reply in `out`.
    Reply,
    /// Send nothing.
    Drop,
    /// `out` contains a draft. The upstream servers complete it, in at most this number of bytes. Then the reply is
    /// signed.
    Forward(usize, Option<Signer>),
    /// `out` contains a draft. The store adds the response code. Then the reply is signed.
    Update(Box<update::UpdateRequest>, Signed),
    /// Send the parts of a zone transfer.
    Transfer(Box<Transfer>),
}

/// Handles one message from `client`. Writes a reply, or the draft of one, into `out`.
pub fn handle(
    rules: RequestContext,
    message: &[u8],
    client: IpAddr,
    transport: Transport,
    out: &mut Vec<u8>,
) -> Disposition {
    if wire::opcode(message) == Some(opcode::UPDATE) {
        return updating(rules, message, client, out);
    }
    let query = match wire::parse(message) {
        Ok(query) => query,
        Err(bad) if header_only(&bad, message, out) => return Disposition::Reply,
        Err(_) => return Disposition::Drop,
    };
    let limit = transport.limit(query.edns);
    if let Some(at) = query.tsig {
        return signed(rules, &query, at, client, transport, out);
    }
    let transfer = matches!(query.qtype, rtype::AXFR | rtype::IXFR);
    if transfer {
        rules.audit.refused(client, &format!("a transfer of `{}` without a key", wire::text(&query.name)));
    }
    let recursion = rules.recursion && rules.clients.contains(client);
    match answer(rules.zones, recursion, &query, limit, out) {
        AnswerVerdict::Reply => Disposition::Reply,
        AnswerVerdict::Forward => Disposition::Forward(limit, None),
    }
}

/// A signed question gets a signed reply (RFC 8945, section 5.3).
fn signed(
    rules: RequestContext,
    query: &Query,
    at: usize,
    client: IpAddr,
    transport: Transport,
    out: &mut Vec<u8>,
) -> Disposition {
    let now = unix();
    let mut signed = match tsig::verify(query.message, at, rules.keys, now) {
        Ok(signed) => signed,
        Err(refused) => {
            rules.audit.refused(client, &format!("a question: {}", refused.why));
            head(query.message, query.head().len(), out);
            refused.write(out, now);
            return Disposition::Reply;
        }
    };
    if matches!(query.qtype, rtype::AXFR | rtype::IXFR) && query.class == IN {
        return transferring(rules, query, signed, client, transport, out);
    }
    let limit = transport.limit(query.edns).saturating_sub(signed.signer.length());
    let recursion = rules.recursion && rules.clients.contains(client);
    match answer(rules.zones, recursion, query, limit, out) {
        AnswerVerdict::Reply => {
            signed.signer.sign(out, now);
            Disposition::Reply
        }
        AnswerVerdict::Forward => Disposition::Forward(limit, Some(signed.signer)),
    }
}

fn transferring(
    rules: RequestContext,
    query: &Query,
    mut signed: Signed,
    client: IpAddr,
    transport: Transport,
    out: &mut Vec<u8>,
) -> Disposition {
    head(query.message, query.head().len(), out);
    let (name, key) = (wire::text(&query.name), wire::text(&signed.key.name));
    let code = if !signed.key.transfer {
        rules.audit.refused(client, &format!("a transfer of `{name}`: key `{key}` may not transfer"));
        rcode::REFUSED
    } else if rules.zones.zone(&query.name).is_none() {
        rules.audit.refused(client, &format!("a transfer of `{name}`: not a zone of this server"));
        rcode::NOTAUTH
    } else if query.qtype == rtype::IXFR && transfer::asked_serial(query.message).is_none() {
        rcode::FORMERR
    } else if transport == Transport::Udp && query.qtype == rtype::AXFR {
        rcode::REFUSED
    } else {
        out[2] |= 0x04;
        let mut serial = (query.qtype == rtype::IXFR).then(|| transfer::asked_serial(query.message)).flatten();
        if transport == Transport::Udp {
            // The reply contains only the SOA, so the client repeats the question over TCP (RFC 1995, section 2).
            serial = rules.zones.zone(&query.name).map(|zone| rules.zones.apexes()[zone].serial());
        }
        let (zone, signer) = (query.name.to_vec().into(), signed.signer);
        return Disposition::Transfer(Box::new(Transfer { zone, serial, signer, head: out.clone() }));
    };
    out[3] |= code as u8;
    signed.signer.sign(out, unix());
    Disposition::Reply
}

fn updating(rules: RequestContext, message: &[u8], client: IpAddr, out: &mut Vec<u8>) -> Disposition {
    let malformed = |out: &mut Vec<u8>| {
        head(message, HEADER, out);
        out[3] |= rcode::FORMERR as u8;
        Disposition::Reply
    };
    let Ok(tsig) = wire::signature(message) else { return malformed(out) };
    // The name must not be compressed. A pointer out of the copied part would make the reply malformed.
    let zone_end = wire::Name::read(&message[HEADER..]).map(|name| HEADER + name.len() + 4);
    let zone_end = zone_end.filter(|end| *end <= message.len());
    head(message, zone_end.filter(|_| wire::u16_at(message, 4) == Some(1)).unwrap_or(HEADER), out);
    let now = unix();
    let Some(at) = tsig else {
        rules.audit.refused(client, "an update without a key");
        out[3] |= rcode::REFUSED as u8;
        return Disposition::Reply;
    };
    let mut signed = match tsig::verify(message, at, rules.keys, now) {
        Ok(signed) => signed,
        Err(refused) => {
            rules.audit.refused(client, &format!("an update: {}", refused.why));
            refused.write(out, now);
            return Disposition::Reply;
        }
    };
    match update::read(message) {
        Ok(request) => Disposition::Update(Box::new(request), signed),
        Err((code, why)) => {
            let key = wire::text(&signed.key.name);
            rules.audit.refused(client, &format!("an update with key `{key}`: {why}"));
            out[3] |= code as u8;
            signed.signer.sign(out, now);
            Disposition::Reply
        }
    }
}

/// Starts a reply: the header, and the first section of the message up to `end`.
fn head(message: &[u8], end: usize, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&message[..end]);
    // Sets QR. Copies the opcode and "recursion desired".
    out[2] = 0x80 | message[2] & 0x79;
    out[3] = 0;
    out[4..HEADER].fill(0);
    out[5] = u8::from(end > HEADER);
}
