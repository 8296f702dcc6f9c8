//! Record data: what is taken, and in which form it is kept. hickory knows what is inside each type.

use hickory_server::proto::{
    rr::{RData, RecordType},
    serialize::binary::{BinDecoder, BinEncodable, BinEncoder, NameEncoding, Restrict},
};

use super::wire::{self, rcode, rtype};

/// Reads a record as it is written: its type and data, in the form of [`canonical`].
pub fn parse(rtype: &str, data: &str) -> Result<(u16, Vec<u8>), String> {
    let kind = crate::records::record_type(rtype)?;
    let parsed = crate::records::data(kind, data)?;
    Ok((kind.into(), encode(kind.into(), &parsed).ok_or("it is too long")?))
}

/// Whether records of this type can be kept: NOERROR, or the code for who tries. SOA and NS are the server's own, there are
/// no delegations, and nothing is signed here.
pub fn taken(kind: u16) -> u16 {
    match kind {
        0 | rtype::OPT | 128..=255 => rcode::FORMERR,
        // NS, MD, MF, SOA, MB, MG, MR, NULL, MINFO, SIG, KEY, NXT, DNAME, DS, RRSIG, NSEC, DNSKEY, NSEC3 …
        2 | 3 | 4 | 6..=10 | 14 | 24 | 25 | 30 | 39 | 43 | 46..=48 | 50 | 51 | 59 | 60 => rcode::REFUSED,
        _ => rcode::NOERROR,
    }
}

/// The data that stands at `at..at + length` of a message, with its names written out and in lower case, so that the same
/// data is always the same bytes (RFC 4034, section 6.2). `None`: it is not data of this type.
pub fn canonical(message: &[u8], at: usize, length: usize, kind: u16) -> Option<Vec<u8>> {
    let data = message.get(at..at + length)?;
    let before_name = match kind {
        rtype::A => return (length == 4).then(|| data.into()),
        rtype::AAAA => return (length == 16).then(|| data.into()),
        rtype::CNAME | rtype::PTR => 0,
        rtype::MX => 2,
        rtype::SRV => 6,
        _ => {
            let mut decoder = BinDecoder::new(data);
            let read = RData::read(&mut decoder, RecordType::from(kind), Restrict::new(length as u16)).ok()?;
            // Names in other types are not compressed (RFC 3597, section 4): then it would become longer.
            let sound = decoder.is_empty() && written_out(&read)?.len() == length;
            return sound.then(|| data.into());
        }
    };
    let (name, end) = wire::expand(message, at + before_name)?;
    (end == at + length).then(|| [&data[..before_name], &name].concat())
}

/// The bytes of data, in the form of [`canonical`].
fn encode(kind: u16, data: &RData) -> Option<Vec<u8>> {
    let out = written_out(data)?;
    canonical(&out, 0, out.len(), kind)
}

fn written_out(data: &RData) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut encoder = BinEncoder::new(&mut out);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder).ok()?;
    Some(out)
}
