//! The wire format of questions (RFC 1035, section 4; EDNS: RFC 6891). Never panics, whatever the bytes are.

/// Response codes (RFC 1035, section 4.1.1; RFC 6891, section 9).
pub mod rcode {
    pub const NOERROR: u16 = 0;
    pub const FORMERR: u16 = 1;
    pub const SERVFAIL: u16 = 2;
    pub const NXDOMAIN: u16 = 3;
    pub const NOTIMP: u16 = 4;
    pub const REFUSED: u16 = 5;
    pub const BADVERS: u16 = 16;
}

/// Record and question types that need a thought of their own (RFC 1035, section 3.2).
pub mod rtype {
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const PTR: u16 = 12;
    pub const HINFO: u16 = 13;
    pub const OPT: u16 = 41;
    pub const TKEY: u16 = 249;
    pub const IXFR: u16 = 251;
    pub const AXFR: u16 = 252;
    pub const MAILB: u16 = 253;
    pub const MAILA: u16 = 254;
    pub const ANY: u16 = 255;
}

/// The class of the Internet.
pub const IN: u16 = 1;
/// Where the question's name stands in every message.
pub const HEADER: usize = 12;
/// The longest a name may be (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 255;

/// A name in wire format, lower case: what the zones are searched with. Lives on the stack.
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
    /// The name at the start of `bytes`, lower-cased; `None` if it is cut off, too long, or compressed (a question has
    /// nothing before it to point to).
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

/// What a client can take (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    pub payload: u16,
    pub version: u8,
    /// "DNSSEC OK" (RFC 3225), echoed.
    pub dnssec_ok: bool,
}

/// A question that may be answered.
pub struct Query<'a> {
    pub message: &'a [u8],
    pub name: Name,
    pub qtype: u16,
    pub class: u16,
    pub edns: Option<Edns>,
}

impl Query<'_> {
    /// Header and question, as they came: a reply repeats the question's letters exactly, also their case.
    pub fn head(&self) -> &[u8] {
        &self.message[..HEADER + self.name.len() + 4]
    }

    /// "Recursion desired".
    pub fn recursion_desired(&self) -> bool {
        self.message[2] & 1 != 0
    }
}

/// Why a packet is not a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Bad {
    /// Not even a header, or itself a reply: answering would serve only an attacker or a loop.
    Drop,
    /// Answered with this code and nothing but a header.
    Code(u16),
}

/// Reads a question.
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
    let mut edns = None;
    let before = u32::from(answers) + u32::from(authorities);
    for index in 0..before + u32::from(additionals) {
        let owner = at;
        at = skip_name(message, at)?;
        let kind = u16_at(message, at)?;
        let length = usize::from(u16_at(message, at + 8)?);
        if kind == rtype::OPT {
            // One, in the additional section, owned by the root (RFC 6891, section 6.1.1).
            if edns.is_some() || index < before || message[owner] != 0 {
                return None;
            }
            let version = *message.get(at + 5)?;
            let dnssec_ok = *message.get(at + 6)? & 0x80 != 0;
            edns = Some(Edns { payload: u16_at(message, at + 2)?, version, dnssec_ok });
        }
        at += 10 + length;
        message.get(..at)?;
    }
    // Bytes after the last record are not DNS.
    (at == message.len()).then_some(Query { message, name, qtype, class, edns })
}

fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]))
}

/// Where the name at `at` ends; pointers are not followed.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            label @ 1..=63 => at += 1 + usize::from(label),
            192.. => return Some(at + 2),
            _ => return None,
        }
    }
}

/// A name as it is written (`git.internal.`, the final dot may be missing) in lower-case wire format.
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
