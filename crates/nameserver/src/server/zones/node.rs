//! A name with all its records, in one block of memory. A large zone needs little more memory than its own bytes, and
//! an answer is copied from one place.
//!
//! ```text
//! 1 length of the name | the name, in lower case | 2 zone | 4 children | 4 length of the fixed records | fixed | registered
//! ```

use super::record::ZoneRecord;
use crate::server::wire::IN;

/// The two kinds of records of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The records of the workspace. If a name has any, only they are served.
    Fixed,
    /// The records that were registered by updates (RFC 2136).
    Registered,
}

/// A name that exists: it has records, or a name below it has (RFC 4592, section 2.2.2).
#[derive(Debug)]
pub struct ZoneNode(Box<[u8]>);

const HEAD: usize = 10;

impl ZoneNode {
    /// Makes a node without records and without names below it.
    pub fn new(name: &[u8], zone: usize) -> Self {
        Self::build(name, zone, 0, &[], &[])
    }

    fn build(name: &[u8], zone: usize, children: u32, fixed: &[u8], registered: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(1 + name.len() + HEAD + fixed.len() + registered.len());
        bytes.push(name.len() as u8);
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(&(zone as u16).to_le_bytes());
        bytes.extend_from_slice(&children.to_le_bytes());
        bytes.extend_from_slice(&(fixed.len() as u32).to_le_bytes());
        bytes.extend_from_slice(fixed);
        bytes.extend_from_slice(registered);
        Self(bytes.into())
    }

    /// Returns a copy of the node with other records in one layer.
    pub fn with(&self, layer: Layer, records: &[u8]) -> Self {
        let (fixed, registered) = match layer {
            Layer::Fixed => (records, self.layer(Layer::Registered).0),
            Layer::Registered => (self.layer(Layer::Fixed).0, records),
        };
        Self::build(self.name(), self.zone(), self.children(), fixed, registered)
    }

    /// Returns the name in wire format and lower case.
    pub fn name(&self) -> &[u8] {
        &self.0[1..self.head()]
    }

    fn head(&self) -> usize {
        1 + usize::from(self.0[0])
    }

    /// Returns the position of its zone in [`super::Zones`].
    pub fn zone(&self) -> usize {
        let at = self.head();
        usize::from(u16::from_le_bytes([self.0[at], self.0[at + 1]]))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }

    /// Returns the number of names directly below.
    pub fn children(&self) -> u32 {
        self.u32(self.head() + 2)
    }

    /// Sets the number of names directly below.
    pub fn set_children(&mut self, children: u32) {
        let at = self.head() + 2;
        self.0[at..at + 4].copy_from_slice(&children.to_le_bytes());
    }

    /// Returns the records of one layer.
    pub fn layer(&self, layer: Layer) -> Records<'_> {
        let start = self.head() + HEAD;
        let middle = start + self.u32(start - 4) as usize;
        match layer {
            Layer::Fixed => Records(&self.0[start..middle]),
            Layer::Registered => Records(&self.0[middle..]),
        }
    }

    /// Returns the records that are served.
    pub fn records(&self) -> Records<'_> {
        let fixed = self.layer(Layer::Fixed);
        if fixed.is_empty() { self.layer(Layer::Registered) } else { fixed }
    }

    /// Returns whether the node has neither records nor names below it.
    pub fn is_idle(&self) -> bool {
        self.children() == 0 && self.0.len() == self.head() + HEAD
    }

    /// Overwrites the serial in the SOA record (RFC 1035, section 3.3.13), which is the first fixed record of an apex.
    pub fn set_serial(&mut self, soa_length: usize, serial: u32) {
        let at = self.head() + HEAD + 10 + soa_length - 20;
        self.0[at..at + 4].copy_from_slice(&serial.to_be_bytes());
    }
}

/// A list of records in the format of a message, without the owner's name (RFC 1035, section 3.2.1). Records of one
/// type are adjacent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Records<'a>(pub &'a [u8]);

impl<'a> Records<'a> {
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Returns the records of one type.
    pub fn of(self, rtype: u16) -> impl Iterator<Item = ZoneRecord<'a>> {
        self.skip_while(move |r| r.rtype() != rtype).take_while(move |r| r.rtype() == rtype)
    }

    /// Returns whether there is a record of this type.
    pub fn has(mut self, rtype: u16) -> bool {
        self.any(|r| r.rtype() == rtype)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = ZoneRecord<'a>;

    fn next(&mut self) -> Option<ZoneRecord<'a>> {
        let length = usize::from(u16::from_be_bytes([*self.0.get(8)?, *self.0.get(9)?]));
        let (record, rest) = self.0.split_at_checked(10 + length)?;
        self.0 = rest;
        Some(ZoneRecord::new(record))
    }
}

/// Appends a record.
pub fn write(to: &mut Vec<u8>, rtype: u16, ttl: u32, data: &[u8]) {
    to.extend_from_slice(&rtype.to_be_bytes());
    to.extend_from_slice(&IN.to_be_bytes());
    to.extend_from_slice(&ttl.to_be_bytes());
    to.extend_from_slice(&(data.len() as u16).to_be_bytes());
    to.extend_from_slice(data);
}

/// Adds a record next to those of its type, unless it exists already. With `renew`, all records of the type get its TTL
/// (RFC 2181, section 5.2). Otherwise the record gets theirs.
pub fn put(records: &mut Vec<u8>, rtype: u16, ttl: u32, data: &[u8], renew: bool) {
    let ttl = match Records(records).of(rtype).next() {
        Some(first) if !renew => first.ttl(),
        _ => ttl,
    };
    let mut out = Vec::with_capacity(records.len() + 10 + data.len());
    let mut placed = false;
    let mut there = false;
    for record in Records(records) {
        if record.rtype() == rtype {
            placed = true;
            there |= record.data() == data;
            write(&mut out, rtype, ttl, record.data());
            continue;
        }
        if placed && !there {
            write(&mut out, rtype, ttl, data);
            there = true;
        }
        out.extend_from_slice(record.bytes());
    }
    if !there {
        write(&mut out, rtype, ttl, data);
    }
    *records = out;
}
