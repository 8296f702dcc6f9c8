//! The wire format of questions (RFC 1035, section 4; EDNS: RFC 6891). No input makes this module panic.

/// Response codes (RFC 1035, section 4.1.1; RFC 2136, section 2.2; RFC 6891, section 9).
pub mod rcode {
    pub const NOERROR: u16 = 0;
    pub const FORMERR: u16 = 1;
    pub const SERVFAIL: u16 = 2;
    pub const NXDOMAIN: u16 = 3;
    pub const NOTIMP: u16 = 4;
    pub const REFUSED: u16 = 5;
    pub const YXDOMAIN: u16 = 6;
    pub const YXRRSET: u16 = 7;
    pub const NXRRSET: u16 = 8;
    pub const NOTAUTH: u16 = 9;
    pub const NOTZONE: u16 = 10;
    pub const BADVERS: u16 = 16;
}

/// Operation codes (RFC 1035, section 4.1.1; RFC 1996; RFC 2136).
pub mod opcode {
    pub const NOTIFY: u8 = 4;
    pub const UPDATE: u8 = 5;
}

/// The record and question types that the server treats specially (RFC 1035, section 3.2).
pub mod rtype {
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const PTR: u16 = 12;
    pub const HINFO: u16 = 13;
    pub const MX: u16 = 15;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    pub const OPT: u16 = 41;
    pub const TKEY: u16 = 249;
    pub const TSIG: u16 = 250;
    pub const IXFR: u16 = 251;
    pub const AXFR: u16 = 252;
    pub const MAILB: u16 = 253;
    pub const MAILA: u16 = 254;
    pub const ANY: u16 = 255;
}

/// The class of the Internet.
pub const IN: u16 = 1;
/// In an update, this class means "no such record" (RFC 2136, section 2.4).
pub const NONE: u16 = 254;
/// In an update, this class means "any record" (RFC 2136, section 2.4). TSIG records have it too.
pub const ANY: u16 = 255;
/// The size of the header. The name of the question follows it.
pub const HEADER: usize = 12;
/// The maximum length of a name (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 255;

/// A name in wire format and lower case, which is the key for lookups in the zones. It is stored without an allocation.
#[derive(Clone)]
pub struct Name {
    bytes: [u8; MAX_NAME],
    length: u8,
}

impl std::ops::Deref for Name {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl Name {
    /// Reads the name at the start of `bytes`, in lower case. Returns `None` if it is cut off, too long, or compressed.
    /// The name of a question cannot be compressed, because no other name precedes it.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut name = Self { bytes: [0; MAX_NAME], length: 0 };
        let mut at = 0;
        loop {
            let label = usize::from(*bytes.get(at)?);
            let end = at + 1 + label;
            if label > 63 || end > MAX_NAME {
                return None;
            }
            name.bytes[at] = bytes[at];
            for (to, from) in name.bytes[at + 1..end].iter_mut().zip(bytes.get(at + 1..end)?) {
                *to = from.to_ascii_lowercase();
            }
            at = end;
            if label == 0 {
                name.length = at as u8;
                return Some(name);
            }
        }
    }
}

/// The EDNS options of a client (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    pub payload: u16,
    pub version: u8,
    /// "DNSSEC OK" (RFC 3225), which the reply repeats.
    pub dnssec_ok: bool,
}

/// A well-formed question.
pub struct Query<'a> {
    pub message: &'a [u8],
    pub name: Name,
    pub qtype: u16,
    pub class: u16,
    pub edns: Option<Edns>,
    /// The position of the signature (RFC 8945).
    pub tsig: Option<usize>,
}

impl Query<'_> {
    /// Returns the header and the question as received. A reply repeats the name with the same upper and lower case.
    pub fn head(&self) -> &[u8] {
        &self.message[..HEADER + self.name.len() + 4]
    }

    /// Returns whether the flag "recursion desired" is set.
    pub fn recursion_desired(&self) -> bool {
        self.message[2] & 1 != 0
    }
}

/// The reason why a packet is not a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Bad {
    /// The packet has no complete header, or is itself a reply. An answer would help only an attacker, or start a loop.
    Drop,
    /// The server replies with this code and a header only.
    Code(u16),
}

/// Parses a question.
pub fn parse(message: &[u8]) -> Result<Query<'_>, Bad> {
    let header = message.get(..HEADER).ok_or(Bad::Drop)?;
    if header[2] & 0x80 != 0 {
        return Err(Bad::Drop);
    }
    if header[2] >> 3 & 15 != 0 {
        return Err(Bad::Code(rcode::NOTIMP));
    }
    let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    if count(4) != 1 {
        return Err(Bad::Code(rcode::FORMERR));
    }
    read_body(message, count(6), count(8), count(10)).ok_or(Bad::Code(rcode::FORMERR))
}

fn read_body(message: &[u8], answers: u16, authorities: u16, additionals: u16) -> Option<Query<'_>> {
    let name = Name::read(&message[HEADER..])?;
    let mut at = HEADER + name.len();
    let qtype = u16_at(message, at)?;
    let class = u16_at(message, at + 2)?;
    at += 4;
    let (mut edns, mut tsig) = (None, None);
    let before = u32::from(answers) + u32::from(authorities);
    let count = before + u32::from(additionals);
    for index in 0..count {
        let owner = at;
        at = skip_name(message, at)?;
        let kind = u16_at(message, at)?;
        let length = usize::from(u16_at(message, at + 8)?);
        if kind == rtype::OPT {
            // There is at most one OPT record. It is in the additional section, and its owner is the root (RFC 6891,
            // section 6.1.1).
            if edns.is_some() || index < before || message[owner] != 0 {
                return None;
            }
            let version = *message.get(at + 5)?;
            let dnssec_ok = *message.get(at + 6)? & 0x80 != 0;
            edns = Some(Edns { payload: u16_at(message, at + 2)?, version, dnssec_ok });
        }
        if kind == rtype::TSIG {
            // The TSIG record is the last one of the additional section (RFC 8945, section 5.2).
            if index < before || index + 1 != count {
                return None;
            }
            tsig = Some(owner);
        }
        at += 10 + length;
        message.get(..at)?;
    }
    // The message must end with the last record.
    (at == message.len()).then_some(Query { message, name, qtype, class, edns, tsig })
}

/// Returns the position of the signature in a message of any kind. The signature is the last record of the additional
/// section (RFC 8945, section 5.2). Returns an error if the message is malformed.
pub fn signature(message: &[u8]) -> Result<Option<usize>, ()> {
    let walk = || {
        let count = |at| Some(u32::from(u16_at(message, at)?));
        let mut at = HEADER;
        for _ in 0..count(4)? {
            at = skip_name(message, at)? + 4;
        }
        let before = count(6)? + count(8)?;
        let all = before + count(10)?;
        let mut tsig = None;
        for index in 0..all {
            let owner = at;
            at = skip_name(message, at)?;
            if u16_at(message, at)? == rtype::TSIG {
                if index < before || index + 1 != all {
                    return None;
                }
                tsig = Some(owner);
            }
            at += 10 + usize::from(u16_at(message, at + 8)?);
        }
        (at == message.len()).then_some(tsig)
    };
    walk().ok_or(())
}

/// Returns the operation code of a message, or `None` if it has no complete header or is a reply.
pub fn opcode(message: &[u8]) -> Option<u8> {
    let header = message.get(..HEADER)?;
    (header[2] & 0x80 == 0).then_some(header[2] >> 3 & 15)
}

/// Returns the operation code of a reply.
pub fn opcode_of_reply(reply: &[u8]) -> Option<u8> {
    Some(reply.get(2)? >> 3 & 15)
}

pub fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]))
}

pub fn u32_at(message: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(u16_at(message, at)?) << 16 | u32::from(u16_at(message, at + 2)?))
}

/// Reads the name at `at`, in lower case, and returns it with the position after it. Pointers (RFC 1035, section 4.1.4)
/// may only point backwards.
pub fn expand(message: &[u8], at: usize) -> Option<(Name, usize)> {
    let mut name = Name { bytes: [0; MAX_NAME], length: 0 };
    let (mut from, mut to, mut end, mut earliest) = (at, 0, None, at);
    loop {
        let label = usize::from(*message.get(from)?);
        if label & 0xc0 == 0xc0 {
            end = end.or(Some(from + 2));
            from = usize::from(u16_at(message, from)? & 0x3fff);
            if from >= earliest {
                return None;
            }
            earliest = from;
            continue;
        }
        if label > 63 || to + 1 + label > MAX_NAME {
            return None;
        }
        name.bytes[to] = label as u8;
        let letters = message.get(from + 1..from + 1 + label)?;
        for (to, from) in name.bytes[to + 1..to + 1 + label].iter_mut().zip(letters) {
            *to = from.to_ascii_lowercase();
        }
        (from, to) = (from + 1 + label, to + 1 + label);
        if label == 0 {
            name.length = to as u8;
            return Some((name, end.unwrap_or(from)));
        }
    }
}

/// Returns the position after the name at `at`. It does not follow pointers.
pub fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            label @ 1..=63 => at += 1 + usize::from(label),
            192.. => return Some(at + 2),
            _ => return None,
        }
    }
}

/// Returns the text form of a name in wire format, with the final dot. A character that is not a letter, a digit, `-`,
/// `_`, `*` or `/` is written as `\\DDD` (RFC 1035, section 5.1).
pub fn text(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((length, after)) = rest.split_first().filter(|(length, _)| **length > 0) {
        let (label, next) = after.split_at(usize::from(*length).min(after.len()));
        for byte in label {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'*' | b'/' => out.push(char::from(*byte)),
                other => out.push_str(&format!("\\{other:03}")),
            }
        }
        out.push('.');
        rest = next;
    }
    if out.is_empty() { ".".into() } else { out }
}

/// Returns the text form of a type: `A`, `TYPE65280` (RFC 3597, section 5).
pub fn type_text(rtype: u16) -> String {
    match hickory_server::proto::rr::RecordType::from(rtype) {
        hickory_server::proto::rr::RecordType::Unknown(number) => format!("TYPE{number}"),
        known => known.to_string(),
    }
}

/// Parses the text form of a name (`git.internal.`; the final dot is optional) into wire format in lower case.
pub fn name(text: &str) -> Result<Box<[u8]>, String> {
    let mut wire = Vec::with_capacity(text.len() + 2);
    let labels = text.strip_suffix('.').unwrap_or(text);
    for label in labels.split('.').filter(|_| !labels.is_empty()) {
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'*' | b'/');
        if label.is_empty() || label.len() > 63 || !label.bytes().all(fine) {
            return Err(format!("`{text}` is not a domain name: `{label}` is not a label"));
        }
        wire.push(label.len() as u8);
        wire.extend(label.bytes().map(|b| b.to_ascii_lowercase()));
    }
    wire.push(0);
    if wire.len() > MAX_NAME {
        return Err(format!("`{text}` is longer than a domain name may be ({MAX_NAME} bytes)"));
    }
    Ok(wire.into())
}
