//! Writes replies in wire format (RFC 1035, section 4): the question as received, then the records, then OPT.

use super::wire::{self, Bad, Edns, HEADER, Query, rtype};

/// The maximum size of a UDP reply, and the size that the server offers to receive. Such a packet is not fragmented on
/// common networks (DNS flag day 2020).
pub const UDP_PAYLOAD: u16 = 1232;
/// The size of the server's OPT record.
const OPT: usize = 11;

/// The transport of a question. It limits the size of the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

impl Transport {
    /// Returns the maximum size of a reply. Over UDP it is 512 bytes (RFC 1035, section 4.2.1), or more with EDNS. Over
    /// TCP, the length field has 16 bits.
    pub fn limit(self, edns: Option<Edns>) -> usize {
        match (self, edns) {
            (Self::Tcp, _) => usize::from(u16::MAX),
            (Self::Udp, None) => 512,
            (Self::Udp, Some(edns)) => usize::from(edns.payload.clamp(512, UDP_PAYLOAD)),
        }
    }
}

/// The sections of a reply that contain records. The value is the position of the section's count in the header.
#[derive(Clone, Copy)]
pub enum Section {
    Answer = 6,
    Authority = 8,
}

/// A reply while it is written.
pub struct ReplyWriter<'a> {
    out: &'a mut Vec<u8>,
    question_end: usize,
    limit: usize,
    edns: Option<Edns>,
    truncated: bool,
}

impl<'a> ReplyWriter<'a> {
    /// Starts a reply with the header and the question. The complete reply has at most `limit` bytes.
    pub fn new(query: &Query, limit: usize, out: &'a mut Vec<u8>) -> Self {
        out.clear();
        out.extend_from_slice(query.head());
        out[2] = 0x80 | query.message[2] & 0x01;
        // "Checking disabled" is copied (RFC 4035, section 3.2.2). The server sets all other flags itself.
        out[3] = query.message[3] & 0x10;
        out[6..HEADER].fill(0);
        let reserved = query.edns.map_or(0, |_| OPT);
        let limit = limit.saturating_sub(reserved);
        Self { question_end: out.len(), out, limit, edns: query.edns, truncated: false }
    }

    /// Sets "authoritative answer".
    pub fn authoritative(&mut self) {
        self.out[2] |= 0x04;
    }

    /// Sets "recursion available".
    pub fn recursion_available(&mut self) {
        self.out[3] |= 0x80;
    }

    /// Appends a record. Its owner is a pointer to the name at `owner` in this message. Returns the position of the
    /// record's data.
    pub fn record(&mut self, section: Section, owner: usize, rtype: u16, ttl: u32, data: &[u8]) -> usize {
        self.place(section, owner, 10 + data.len(), |out| super::zones::write(out, rtype, ttl, data))
    }

    /// Appends a record that is already in the format of the zones. Returns the position of its data.
    pub fn raw(&mut self, section: Section, owner: usize, record: &[u8]) -> usize {
        self.place(section, owner, record.len(), |out| out.extend_from_slice(record))
    }

    /// If a record does not fit, the reply becomes empty and has TC (RFC 2181, section 9). The client then repeats the
    /// question over TCP.
    fn place(&mut self, section: Section, owner: usize, length: usize, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let start = self.out.len();
        if self.truncated || start + 2 + length > self.limit {
            self.truncated = true;
            return start;
        }
        let pointer = 0xc000 | owner as u16;
        self.out.extend_from_slice(&pointer.to_be_bytes());
        write(self.out);
        let at = section as usize;
        let count = u16::from_be_bytes([self.out[at], self.out[at + 1]]) + 1;
        self.out[at..at + 2].copy_from_slice(&count.to_be_bytes());
        start + 12
    }

    /// Sets the response code, and appends an OPT record if the question had one.
    pub fn finish(self, rcode: u16) {
        if self.truncated {
            self.out.truncate(self.question_end);
            self.out[6..HEADER].fill(0);
            self.out[2] |= 0x02;
        }
        self.out[3] |= rcode as u8 & 15;
        if let Some(edns) = self.edns {
            self.out[11] = 1;
            let [high, low] = UDP_PAYLOAD.to_be_bytes();
            let dnssec_ok = u8::from(edns.dnssec_ok) << 7;
            let extended = (rcode >> 4) as u8;
            self.out.extend_from_slice(&[0, 0, rtype::OPT as u8, high, low, extended, 0, dnssec_ok, 0, 0, 0]);
        }
    }
}

/// Removes all records from a reply and sets TC, so that the client repeats the question over TCP. Returns `false` if
/// the reply contains no question.
pub fn truncate(reply: &mut Vec<u8>) -> bool {
    let end = wire::skip_name(reply, HEADER).map(|at| at + 4).filter(|end| *end <= reply.len());
    let Some(end) = end.filter(|_| wire::u16_at(reply, 4) == Some(1)) else { return false };
    reply.truncate(end);
    reply[2] |= 0x02;
    reply[3] &= 0xf0;
    reply[6..HEADER].fill(0);
    true
}

/// Writes a reply that is only a header, for a malformed message. Returns `false` if nothing is to be sent.
pub fn header_only(bad: &Bad, message: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let Bad::Code(code) = bad else { return false };
    out.extend_from_slice(&message[..2]);
    out.extend_from_slice(&[0x80 | message[2] & 0x79, *code as u8, 0, 0, 0, 0, 0, 0, 0, 0]);
    true
}
