//! Writes replies in wire format (RFC 1035, section 4): the question as it came, then records, then OPT.

use super::wire::{self, Bad, Edns, HEADER, Query, rtype};

/// What a UDP reply may be at most, and what we offer to receive: fits one packet on any sane path (DNS flag day 2020).
pub const UDP_PAYLOAD: u16 = 1232;
/// The size of our OPT record.
const OPT: usize = 11;

/// How a question came, hence how long its reply may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

impl Transport {
    /// 512 bytes over UDP (RFC 1035, section 4.2.1) unless EDNS says more; what a length field can say over TCP.
    pub fn limit(self, edns: Option<Edns>) -> usize {
        match (self, edns) {
            (Self::Tcp, _) => usize::from(u16::MAX),
            (Self::Udp, None) => 512,
            (Self::Udp, Some(edns)) => usize::from(edns.payload.clamp(512, UDP_PAYLOAD)),
        }
    }
}

/// The sections a record can be in, by the position of their count in the header.
#[derive(Clone, Copy)]
pub enum Section {
    Answer = 6,
    Authority = 8,
}

/// A reply that is being written.
pub struct ReplyWriter<'a> {
    out: &'a mut Vec<u8>,
    question_end: usize,
    limit: usize,
    edns: Option<Edns>,
    truncated: bool,
}

impl<'a> ReplyWriter<'a> {
    /// Starts with the question's header and the question; with all that follows it will have at most `limit` bytes.
    pub fn new(query: &Query, limit: usize, out: &'a mut Vec<u8>) -> Self {
        out.clear();
        out.extend_from_slice(query.head());
        out[2] = 0x80 | query.message[2] & 0x01;
        // "Checking disabled" is repeated (RFC 4035, section 3.2.2), everything else is ours to say.
        out[3] = query.message[3] & 0x10;
        out[6..HEADER].fill(0);
        let reserved = query.edns.map_or(0, |_| OPT);
        let limit = limit.saturating_sub(reserved);
        Self { question_end: out.len(), out, limit, edns: query.edns, truncated: false }
    }

    /// "Authoritative answer".
    pub fn authoritative(&mut self) {
        self.out[2] |= 0x04;
    }

    /// "Recursion available".
    pub fn recursion_available(&mut self) {
        self.out[3] |= 0x80;
    }

    /// Appends one record whose owner's name stands at `owner` in this message; gives the position of its data.
    pub fn record(&mut self, section: Section, owner: usize, rtype: u16, ttl: u32, data: &[u8]) -> usize {
        self.place(section, owner, 10 + data.len(), |out| super::zones::write(out, rtype, ttl, data))
    }

    /// The same for a record as it stands in the zones.
    pub fn raw(&mut self, section: Section, owner: usize, record: &[u8]) -> usize {
        self.place(section, owner, record.len(), |out| out.extend_from_slice(record))
    }

    /// What does not fit empties the reply and sets TC (RFC 2181, section 9): the client asks again over TCP.
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

    /// The response code, the OPT record where the question had one, and done.
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

/// Leaves of a reply only header and question, with TC: ask over TCP. `false`: there is no question in it.
pub fn truncate(reply: &mut Vec<u8>) -> bool {
    let end = wire::skip_name(reply, HEADER).map(|at| at + 4).filter(|end| *end <= reply.len());
    let Some(end) = end.filter(|_| wire::u16_at(reply, 4) == Some(1)) else { return false };
    reply.truncate(end);
    reply[2] |= 0x02;
    reply[3] &= 0xf0;
    reply[6..HEADER].fill(0);
    true
}

/// A reply of only a header, to what is not a question; `false` when there is nothing to send.
pub fn header_only(bad: &Bad, message: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let Bad::Code(code) = bad else { return false };
    out.extend_from_slice(&message[..2]);
    out.extend_from_slice(&[0x80 | message[2] & 0x79, *code as u8, 0, 0, 0, 0, 0, 0, 0, 0]);
    true
}
