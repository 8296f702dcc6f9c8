//! Parses an update (RFC 2136, section 2). The result depends on its bytes only.

use crate::server::{
    records,
    wire::{self, ANY, HEADER, IN, NONE, rcode, rtype},
    zones::suffixes,
};

/// A prerequisite of an update (RFC 2136, section 2.4). Names are in wire format and lower case.
#[derive(Debug, PartialEq, Eq)]
pub enum Prerequisite {
    /// The name has records.
    Used(Box<[u8]>),
    /// The name has no records.
    Unused(Box<[u8]>),
    /// The name has records of this type.
    Has(Box<[u8]>, u16),
    /// The name has no records of this type.
    HasNot(Box<[u8]>, u16),
    /// The name has a record of this type with this data. All such prerequisites of one name and type together must be
    /// the complete set.
    Exactly(Box<[u8]>, u16, Vec<u8>),
}

/// A change (RFC 2136, section 2.5).
#[derive(Debug, PartialEq, Eq)]
pub enum UpdateOperation {
    Add {
        name: Box<[u8]>,
        rtype: u16,
        ttl: u32,
        data: Vec<u8>,
    },
    /// Remove one record.
    Remove {
        name: Box<[u8]>,
        rtype: u16,
        data: Vec<u8>,
    },
    /// Remove all records of a type.
    RemoveType {
        name: Box<[u8]>,
        rtype: u16,
    },
    /// Remove all records.
    RemoveName {
        name: Box<[u8]>,
    },
}

impl UpdateOperation {
    pub fn name(&self) -> &[u8] {
        match self {
            Self::Add { name, .. }
            | Self::Remove { name, .. }
            | Self::RemoveType { name, .. }
            | Self::RemoveName { name } => name,
        }
    }
}

/// A well-formed update.
#[derive(Debug, PartialEq, Eq)]
pub struct UpdateRequest {
    /// The zone's name in wire format and lower case.
    pub zone: Box<[u8]>,
    pub prerequisites: Vec<Prerequisite>,
    pub changes: Vec<UpdateOperation>,
}

/// One record of a section.
struct UpdateRecord {
    name: Box<[u8]>,
    rtype: u16,
    class: u16,
    ttl: u32,
    at: usize,
    length: usize,
}

/// Parses an update, with or without a signature at its end. The error is the response code and the reason.
pub fn read(message: &[u8]) -> Result<UpdateRequest, (u16, String)> {
    let malformed = || (rcode::FORMERR, "it is malformed".to_owned());
    let count = |at| wire::u16_at(message, at).ok_or_else(malformed);
    if count(4)? != 1 {
        return Err((rcode::FORMERR, "it does not name exactly one zone".into()));
    }
    let (zone, mut at) = wire::expand(message, HEADER).ok_or_else(malformed)?;
    if (wire::u16_at(message, at), wire::u16_at(message, at + 2)) != (Some(rtype::SOA), Some(IN)) {
        return Err((rcode::FORMERR, "its zone section is malformed".into()));
    }
    at += 4;
    let mut section = |count: u16| -> Result<Vec<UpdateRecord>, (u16, String)> {
        let mut records = Vec::with_capacity(usize::from(count).min(64));
        for _ in 0..count {
            let (record, end) = record(message, at).ok_or_else(malformed)?;
            if !suffixes(&record.name).any(|s| *s == *zone) {
                return Err((rcode::NOTZONE, format!("`{}` is not in its zone", wire::text(&record.name))));
            }
            records.push(record);
            at = end;
        }
        Ok(records)
    };
    let prerequisites = section(count(6)?)?;
    let changes = section(count(8)?)?;
    Ok(UpdateRequest {
        zone: zone.to_vec().into(),
        prerequisites: prerequisites.into_iter().map(|r| prerequisite(message, r)).collect::<Result<_, _>>()?,
        changes: changes.into_iter().map(|r| change(message, r)).collect::<Result<_, _>>()?,
    })
}

fn record(message: &[u8], at: usize) -> Option<(UpdateRecord, usize)> {
    let (name, at) = wire::expand(message, at)?;
    let (rtype, class) = (wire::u16_at(message, at)?, wire::u16_at(message, at + 2)?);
    let (ttl, length) = (wire::u32_at(message, at + 4)?, usize::from(wire::u16_at(message, at + 8)?));
    let at = at + 10;
    message.get(at..at + length)?;
    Some((UpdateRecord { name: name.to_vec().into(), rtype, class, ttl, at, length }, at + length))
}

fn wrong(record: &UpdateRecord, why: &str) -> (u16, String) {
    (rcode::FORMERR, format!("{why} of `{}` (type {}) is malformed", wire::text(&record.name), record.rtype))
}

fn prerequisite(message: &[u8], record: UpdateRecord) -> Result<Prerequisite, (u16, String)> {
    let empty = record.ttl == 0 && record.length == 0;
    match record.class {
        ANY if empty && record.rtype == rtype::ANY => Ok(Prerequisite::Used(record.name)),
        ANY if empty => Ok(Prerequisite::Has(record.name, record.rtype)),
        NONE if empty && record.rtype == rtype::ANY => Ok(Prerequisite::Unused(record.name)),
        NONE if empty => Ok(Prerequisite::HasNot(record.name, record.rtype)),
        IN if record.ttl == 0 => match records::canonical(message, record.at, record.length, record.rtype) {
            Some(data) => Ok(Prerequisite::Exactly(record.name, record.rtype, data)),
            None => Err(wrong(&record, "a prerequisite")),
        },
        _ => Err(wrong(&record, "a prerequisite")),
    }
}

fn change(message: &[u8], record: UpdateRecord) -> Result<UpdateOperation, (u16, String)> {
    let any = record.rtype == rtype::ANY;
    if !any {
        let code = records::storable_code(record.rtype);
        if code != rcode::NOERROR {
            let name = wire::text(&record.name);
            return Err((code, format!("records of type {} are not supported (`{name}`)", record.rtype)));
        }
    }
    let data = || records::canonical(message, record.at, record.length, record.rtype);
    match record.class {
        IN if !any => match data() {
            Some(data) => {
                // A TTL of 2^31 or more counts as 0 (RFC 2181, section 8).
                let ttl = if record.ttl >> 31 == 0 { record.ttl } else { 0 };
                Ok(UpdateOperation::Add { name: record.name, rtype: record.rtype, ttl, data })
            }
            None => Err(wrong(&record, "the data")),
        },
        NONE if !any && record.ttl == 0 => match data() {
            Some(data) => Ok(UpdateOperation::Remove { name: record.name, rtype: record.rtype, data }),
            None => Err(wrong(&record, "the data")),
        },
        ANY if record.ttl == 0 && record.length == 0 => Ok(match any {
            true => UpdateOperation::RemoveName { name: record.name },
            false => UpdateOperation::RemoveType { name: record.name, rtype: record.rtype },
        }),
        _ => Err(wrong(&record, "a change")),
    }
}
