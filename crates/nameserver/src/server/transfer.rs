//! Transfers of whole zones (AXFR, RFC 5936) and of their latest changes (IXFR, RFC 1995), for keys with this right.

use super::{
    tsig::Signer,
    wire::{self, HEADER, rtype},
    zones::{Zones, write},
};

/// The maximum size of a message of a transfer. Most servers send this size. It saves memory compared with 64 KB.
const PART: usize = 16 << 10;

/// A permitted transfer.
#[derive(Debug)]
pub struct Transfer {
    /// The zone's name in wire format and lower case.
    pub zone: Box<[u8]>,
    /// The serial of the client's version, or `None` if the client asks for the whole zone.
    pub serial: Option<u32>,
    pub signer: Signer,
    /// The header and the question of each message.
    pub head: Vec<u8>,
}

/// Returns the serial in the authority section of an IXFR question (RFC 1995, section 3).
pub fn asked_serial(message: &[u8]) -> Option<u32> {
    let (_, at) = wire::expand(message, HEADER)?;
    let at = wire::skip_name(message, at + 4)?;
    let (_, at_mail) = wire::expand(message, (wire::u16_at(message, at)? == rtype::SOA).then_some(at + 10)?)?;
    let (_, at_serial) = wire::expand(message, at_mail)?;
    wire::u32_at(message, at_serial)
}

/// Returns the messages of a transfer, unsigned. They show one state of the zone, however long it takes to send them.
/// Returns `None` if the zone no longer exists.
pub fn parts(zones: &Zones, transfer: &Transfer) -> Option<Vec<Vec<u8>>> {
    let zone = zones.zone(&transfer.zone)?;
    let apex = &zones.apexes()[zone];
    let ttl = zones.node(&apex.name)?.records().next()?.ttl();
    let soa = |serial: u32| {
        let mut data = apex.soa.to_vec();
        let at = data.len() - 20;
        data[at..at + 4].copy_from_slice(&serial.to_be_bytes());
        let mut record = apex.name.to_vec();
        write(&mut record, rtype::SOA, ttl, &data);
        record
    };
    let serial = apex.serial();
    let mut parts = Parts::new(&transfer.head);
    parts.add(&soa(serial));
    match transfer.serial {
        // Serials are compared with serial number arithmetic (RFC 1982). A client that has this version or a newer one
        // gets only the SOA.
        Some(theirs) if (theirs.wrapping_sub(serial) as i32) >= 0 => return Some(parts.done),
        Some(theirs) if let Some(diffs) = apex.history.since(theirs) => {
            for diff in diffs {
                for (serial, records) in [(diff.from, &diff.gone), (diff.to, &diff.new)] {
                    parts.add(&soa(serial));
                    for (name, record) in super::zones::whole_records(records) {
                        parts.add(&[name, record.bytes()].concat());
                    }
                }
            }
        }
        _ => {
            for node in zones.nodes(zone) {
                let records = node.records().filter(|r| r.rtype() != rtype::SOA);
                records.for_each(|r| parts.add(&[node.name(), r.bytes()].concat()));
            }
        }
    }
    parts.add(&soa(serial));
    Some(parts.done)
}

/// The messages while they are filled.
struct Parts<'a> {
    head: &'a [u8],
    done: Vec<Vec<u8>>,
}

impl<'a> Parts<'a> {
    fn new(head: &'a [u8]) -> Self {
        Self { head, done: vec![head.to_vec()] }
    }

    fn add(&mut self, record: &[u8]) {
        let full = |part: &Vec<u8>| part.len() > self.head.len() && part.len() + record.len() > PART;
        if self.done.last().is_none_or(full) {
            self.done.push(self.head.to_vec());
        }
        let Some(part) = self.done.last_mut() else { return };
        part.extend_from_slice(record);
        let count = u16::from_be_bytes([part[6], part[7]]) + 1;
        part[6..8].copy_from_slice(&count.to_be_bytes());
    }
}
