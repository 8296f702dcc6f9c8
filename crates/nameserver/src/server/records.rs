//! Record data: the types that the server stores, and their canonical form. hickory parses the data of each type.

use hickory_server::proto::{
    rr::{RData, RecordType},
    serialize::binary::{BinDecoder, BinEncodable, BinEncoder, NameEncoding, Restrict},
};

use super::wire::{self, rcode, rtype};

/// Parses a record in text form. Returns its type and its data in the form of [`canonical`].
pub fn parse(rtype: &str, data: &str) -> Result<(u16, Vec<u8>), String> {
    let kind = crate::records::record_type(rtype)?;
    let parsed = crate::records::data(kind, data)?;
    Ok((kind.into(), encode(kind.into(), &parsed).ok_or("it is too long")?))
}

/// Returns NOERROR if the server stores records of this type, or the response code that refuses the update. The server
/// itself writes SOA and NS. It supports neither delegations nor DNSSEC.
pub fn storable_code(kind: u16) -> u16 {
    match kind {
        0 | rtype::OPT | 128..=255 => rcode::FORMERR,
        // NS, MD, MF, SOA, MB, MG, MR, NULL, MINFO, SIG, KEY, NXT, DNAME, DS, RRSIG, NSEC, DNSKEY, NSEC3 …
        2 | 3 | 4 | 6..=10 | 14 | 24 | 25 | 30 | 39 | 43 | 46..=48 | 50 | 51 | 59 | 60 => rcode::REFUSED,
        _ => rcode::NOERROR,
    }
}

/// Returns the data at `at..at + length` of a message in canonical form: names are uncompressed and in lower case, so
/// the same data always has the same bytes (RFC 4034, section 6.2). Returns `None` if the data is not valid for this
/// type.
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
            // Names in other types must not be compressed (RFC 3597, section 4). Compressed data would be longer when
            // it is written again.
            let sound = decoder.is_empty() && written_out(&read)?.len() == length;
            return sound.then(|| data.into());
        }
    };
    let (name, end) = wire::expand(message, at + before_name)?;
    (end == at + length).then(|| [&data[..before_name], &name].concat())
}

/// Encodes data in the form of [`canonical`].
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
