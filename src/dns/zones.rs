//! The zones served: one map from every existing name to its records, whatever the zone.
//!
//! A name exists when it has records or stands above one that has (an empty non-terminal, RFC 4592, section 2.2.2); both are
//! in the map, so a hit is one look-up and a miss one per label.

use std::collections::HashMap;

use super::wire::rtype;

/// The records of one type at one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    pub rtype: u16,
    pub ttl: u32,
    /// Each record's data in wire format, names uncompressed.
    pub data: Vec<Box<[u8]>>,
}

/// A name that exists.
#[derive(Debug)]
pub struct Node {
    zone: usize,
    /// Empty for an empty non-terminal.
    pub sets: Vec<Set>,
}

impl Node {
    /// The records of one type.
    pub fn set(&self, rtype: u16) -> Option<&Set> {
        self.sets.iter().find(|s| s.rtype == rtype)
    }
}

/// What every negative answer of a zone carries (RFC 2308).
#[derive(Debug)]
pub struct Apex {
    /// In lower-case wire format.
    pub name: Box<[u8]>,
    pub soa: Box<[u8]>,
    /// How long "there is no such name" may be remembered.
    pub negative_ttl: u32,
}

/// Where a name stands.
pub enum Found<'a> {
    /// In no zone of ours.
    Outside,
    /// It exists, or a wildcard stands for it.
    Node(&'a Apex, &'a Node),
    /// It would be ours, and does not exist.
    Missing(&'a Apex),
}

/// Every zone this server is the authority for.
#[derive(Debug, Default)]
pub struct Zones {
    names: HashMap<Box<[u8]>, Node>,
    zones: Vec<Apex>,
}

impl Zones {
    /// A further zone with its SOA and NS records, still without names. Zones must not lie in one another.
    pub fn add_zone(&mut self, apex: Apex, ttl: u32, server: &[u8]) {
        let zone = self.zones.len();
        let set = |rtype, data: &[u8]| Set { rtype, ttl, data: vec![data.into()] };
        let sets = vec![set(rtype::SOA, &apex.soa), set(rtype::NS, server)];
        self.names.insert(apex.name.clone(), Node { zone, sets });
        self.zones.push(apex);
    }

    /// One more record; `false` when `name` is in none of our zones. The same record twice is one.
    pub fn add(&mut self, name: &[u8], rtype: u16, ttl: u32, data: &[u8]) -> bool {
        let Some((zone, depth)) = suffixes(name).find_map(|s| Some((self.names.get(s)?.zone, s.len()))) else {
            return false;
        };
        for missing in suffixes(name).take_while(|s| s.len() > depth) {
            self.names.insert(missing.into(), Node { zone, sets: Vec::new() });
        }
        let Some(node) = self.names.get_mut(name) else { return false };
        match node.sets.iter_mut().find(|s| s.rtype == rtype) {
            Some(set) if set.data.iter().any(|d| **d == *data) => {}
            Some(set) => set.data.push(data.into()),
            None => node.sets.push(Set { rtype, ttl, data: vec![data.into()] }),
        }
        true
    }

    /// Finds a name, as RFC 4592 says: a wildcard answers only below its closest encloser, and never for what exists.
    pub fn find(&self, name: &[u8]) -> Found<'_> {
        let mut closest = suffixes(name).filter_map(|s| Some((s, self.names.get(s)?)));
        let Some((encloser, node)) = closest.next() else { return Found::Outside };
        let apex = &self.zones[node.zone];
        if encloser.len() == name.len() {
            return Found::Node(apex, node);
        }
        let wildcard: Vec<u8> = [b"\x01*", encloser].concat();
        match self.names.get(wildcard.as_slice()) {
            Some(node) => Found::Node(apex, node),
            None => Found::Missing(apex),
        }
    }

    /// How many names have records, and how many zones there are.
    pub fn counts(&self) -> (usize, usize) {
        (self.names.values().filter(|n| !n.sets.is_empty()).count(), self.zones.len())
    }
}

/// A wire-format name, then the name without its first label, and so on; not the root.
fn suffixes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(name);
    std::iter::from_fn(move || {
        let current = rest.take().filter(|n| n.len() > 1)?;
        rest = current.get(1 + usize::from(current[0])..);
        Some(current)
    })
}
