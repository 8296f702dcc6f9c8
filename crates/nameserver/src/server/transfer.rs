//! Whole zones (AXFR, RFC 5936) and their latest changes (IXFR, RFC 1995), for whoever has a key that may.

use super::{
    tsig::Signer,
    wire::{self, HEADER, rtype},
    zones::{Zones, write},
};

/// How long a part may be: what most servers send, so that nobody has to hold 64 KB at a time.
const PART: usize = 16 << 10;

/// A transfer that was allowed.
#[derive(Debug)]
pub struct Transfer {
    /// In lower-case wire format.
    pub zone: Box<[u8]>,
    /// What the client has; `None`: it wants all.
    pub serial: Option<u32>,
    pub signer: Signer,
    /// Header and question of each part.
    pub head: Vec<u8>,
}

/// The serial in the authority section of an IXFR question (RFC 1995, section 3).
pub fn asked_serial(message: &[u8]) -> Option<u32> {
    let (_, at) = wire::expand(message, HEADER)?;
    let at = wire::skip_name(message, at + 4)?;
    let (_, at_mail) = wire::expand(message, (wire::u16_at(message, at)? == rtype::SOA).then_some(at + 10)?)?;
    let (_, at_serial) = wire::expand(message, at_mail)?;
    wire::u32_at(message, at_serial)
}

/// The parts of a transfer, still unsigned: one state of the zone, however long sending them takes. `None`: there is no
/// such zone any more.
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
        // Serials grow in a circle (RFC 1982); who is level or ahead has nothing to get.
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

/// Messages that are being filled.
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
