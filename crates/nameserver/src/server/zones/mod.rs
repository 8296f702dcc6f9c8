//! The served zones. One hash table contains the names of all zones, so a name that exists needs one look-up, and a
//! missing name needs one look-up for each label.

mod history;
pub mod node;
pub mod record;

use hashbrown::{DefaultHashBuilder, HashTable, hash_table::Entry};
use std::{
    collections::BTreeMap,
    hash::{BuildHasher, Hash, Hasher},
};

use self::node::put;
pub use self::{
    history::{Diff, History, whole_records},
    node::{Layer, Records, ZoneNode, write},
};
use super::wire::rtype;

/// The maximum size in bytes of the records of one name. A larger set would not fit into any reply.
const MAX_RECORDS: usize = 60_000;

/// A zone, with the data for its negative answers (RFC 2308).
#[derive(Debug)]
pub struct Apex {
    /// The zone's name in wire format and lower case.
    pub name: Box<[u8]>,
    /// The data of the SOA record.
    pub soa: Box<[u8]>,
    /// The TTL of negative answers in seconds.
    pub negative_ttl: u32,
    /// The number of names with records in the zone.
    pub names: usize,
    /// The latest changes, for incremental transfers.
    pub history: History,
}

impl Apex {
    pub fn serial(&self) -> u32 {
        let at = self.soa.len() - 20;
        u32::from_be_bytes([self.soa[at], self.soa[at + 1], self.soa[at + 2], self.soa[at + 3]])
    }
}

/// The result of a look-up.
pub enum Lookup<'a> {
    /// The name is in none of the zones.
    Outside,
    /// The name exists, or a wildcard matches it.
    Node(&'a Apex, &'a ZoneNode),
    /// The name is in a zone, and does not exist.
    Missing(&'a Apex),
}

/// All zones for which this server is authoritative.
#[derive(Debug, Default)]
pub struct Zones {
    names: HashTable<ZoneNode>,
    hasher: DefaultHashBuilder,
    zones: Vec<Apex>,
}

/// The reason why a record cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdded {
    /// The name is in none of the zones.
    Outside,
    /// The name has too many records.
    Full,
}

impl Zones {
    /// Makes an empty table with space for `names` names.
    pub fn with_capacity(names: usize) -> Self {
        Self { names: HashTable::with_capacity(names), ..Self::default() }
    }

    /// Adds a zone with its SOA and NS records and without other names. Zones must not be nested.
    pub fn add_zone(&mut self, name: &[u8], soa: &[u8], negative_ttl: u32, ttl: u32, server: &[u8]) {
        let mut records = Vec::new();
        write(&mut records, rtype::SOA, ttl, soa);
        write(&mut records, rtype::NS, ttl, server);
        self.insert(ZoneNode::new(name, self.zones.len()).with(Layer::Fixed, &records));
        let apex = Apex { name: name.into(), soa: soa.into(), negative_ttl, names: 1, history: History::default() };
        self.zones.push(apex);
    }

    /// Adds a fixed record. A duplicate is ignored. The first record of a type sets the TTL.
    pub fn add(&mut self, name: &[u8], rtype: u16, ttl: u32, data: &[u8]) -> Result<(), NotAdded> {
        let mut records = self.node(name).map_or(Vec::new(), |n| n.layer(Layer::Fixed).0.to_vec());
        put(&mut records, rtype, ttl, data, false);
        self.set(name, Layer::Fixed, &records)
    }

    /// Replaces all records of one layer of a name. If the name then has no records, it is removed, together with the
    /// names above it that exist only because of it.
    pub fn set(&mut self, name: &[u8], layer: Layer, records: &[u8]) -> Result<(), NotAdded> {
        if records.len() > MAX_RECORDS {
            return Err(NotAdded::Full);
        }
        match self.node(name) {
            None if records.is_empty() => return Ok(()),
            None => self.make(name)?,
            Some(_) => {}
        }
        let hash = self.hasher.hash_one(name);
        if let Some(node) = self.names.find_mut(hash, |n| n.name() == name) {
            let before = node.records().is_empty();
            *node = node.with(layer, records);
            let names = &mut self.zones[node.zone()].names;
            *names = *names + usize::from(before) - usize::from(node.records().is_empty());
        }
        self.prune(name);
        Ok(())
    }

    /// Makes an empty node for `name` and for the missing names above it.
    fn make(&mut self, name: &[u8]) -> Result<(), NotAdded> {
        let missing: Vec<&[u8]> = suffixes(name).take_while(|s| self.node(s).is_none()).collect();
        let above = suffixes(name).nth(missing.len()).ok_or(NotAdded::Outside)?;
        let zone = self.node(above).ok_or(NotAdded::Outside)?.zone();
        let mut parent = above;
        for suffix in missing.into_iter().rev() {
            self.count(parent, 1);
            self.insert(ZoneNode::new(suffix, zone));
            parent = suffix;
        }
        Ok(())
    }

    fn prune(&mut self, name: &[u8]) {
        for suffix in suffixes(name) {
            let hash = self.hasher.hash_one(suffix);
            let Ok(found) = self.names.find_entry(hash, |n| n.name() == suffix) else { return };
            if !found.get().is_idle() {
                return;
            }
            found.remove();
            if let Some(parent) = suffixes(suffix).nth(1) {
                self.count(parent, -1);
            }
        }
    }

    fn count(&mut self, name: &[u8], by: i32) {
        let hash = self.hasher.hash_one(name);
        if let Some(node) = self.names.find_mut(hash, |n| n.name() == name) {
            node.set_children(node.children().saturating_add_signed(by));
        }
    }

    fn insert(&mut self, node: ZoneNode) {
        let Self { names, hasher, .. } = self;
        let hash = hasher.hash_one(node.name());
        match names.entry(hash, |n| n.name() == node.name(), |n| hasher.hash_one(n.name())) {
            Entry::Occupied(mut there) => *there.get_mut() = node,
            Entry::Vacant(room) => {
                room.insert(node);
            }
        }
    }

    /// Returns the node of exactly this name. The node may have no records (an empty non-terminal).
    pub fn node(&self, name: &[u8]) -> Option<&ZoneNode> {
        self.names.find(self.hasher.hash_one(name), |n| n.name() == name)
    }

    /// Finds a name as defined by RFC 4592: a wildcard matches only below the closest encloser, and never an existing
    /// name.
    pub fn find(&self, name: &[u8]) -> Lookup<'_> {
        let mut closest = suffixes(name).filter_map(|s| Some((s, self.node(s)?)));
        let Some((encloser, node)) = closest.next() else { return Lookup::Outside };
        let apex = &self.zones[node.zone()];
        if encloser.len() == name.len() {
            return Lookup::Node(apex, node);
        }
        let mut wildcard = [0; 258];
        wildcard[..2].copy_from_slice(b"\x01*");
        wildcard[2..2 + encloser.len()].copy_from_slice(encloser);
        match self.node(&wildcard[..2 + encloser.len()]) {
            Some(node) => Lookup::Node(apex, node),
            None => Lookup::Missing(apex),
        }
    }

    /// Returns the zones in the order in which they were added.
    pub fn apexes(&self) -> &[Apex] {
        &self.zones
    }

    /// Returns the position of the zone with exactly this name.
    pub fn zone(&self, apex: &[u8]) -> Option<usize> {
        let zone = self.node(apex)?.zone();
        (*self.zones[zone].name == *apex).then_some(zone)
    }

    /// Returns every name of one zone.
    pub fn nodes(&self, zone: usize) -> impl Iterator<Item = &ZoneNode> {
        self.names.iter().filter(move |n| n.zone() == zone)
    }

    /// Sets the serial of a zone. Its kept changes lead to another serial, so they are removed.
    pub fn set_serial(&mut self, zone: usize, serial: u32) {
        self.zones[zone].history = History::default();
        self.write_serial(zone, serial);
    }

    fn write_serial(&mut self, zone: usize, serial: u32) {
        let Apex { name, soa, .. } = &mut self.zones[zone];
        let at = soa.len() - 20;
        soa[at..at + 4].copy_from_slice(&serial.to_be_bytes());
        let hash = self.hasher.hash_one(&**name);
        if let Some(node) = self.names.find_mut(hash, |n| n.name() == &**name) {
            node.set_serial(soa.len(), serial);
        }
    }

    /// Applies a change to its records and to the serial. Records outside the zones are ignored.
    pub fn apply(&mut self, diff: Diff) {
        for (name, records) in diff.after(self) {
            let _ = self.set(&name, Layer::Registered, &records);
        }
        // The zone of an old journal may no longer exist, because the reverse zones are now defined by other networks.
        let Some(zone) = self.zone(diff.zone()) else { return };
        self.write_serial(zone, diff.to);
        let diff = diff.seen(self);
        self.zones[zone].history.push(diff);
    }

    /// Adds records to the registered ones. Records outside the zones are ignored.
    pub fn register(&mut self, records: &[u8]) {
        let diff = Diff { new: records.to_vec(), ..Diff::default() };
        for (name, records) in diff.after(self) {
            let _ = self.set(&name, Layer::Registered, &records);
        }
    }

    /// Returns every name with registered records, whether or not they are served.
    pub fn registered(&self) -> impl Iterator<Item = (&[u8], Records<'_>)> {
        let all = self.names.iter().map(|n| (n.name(), n.layer(Layer::Registered)));
        all.filter(|(_, records)| !records.is_empty())
    }

    /// Returns a number for each zone that depends on its fixed records, but not on its serial.
    pub fn fixed_sums(&self) -> Vec<u64> {
        let mut sums: Vec<u64> = self.zones.iter().map(|a| sum(&a.name, &[a.soa.len() as u8])).collect();
        for node in &self.names {
            let records = node.layer(Layer::Fixed).filter(|r| r.rtype() != rtype::SOA);
            let sums = &mut sums[node.zone()];
            records.for_each(|r| *sums = sums.wrapping_add(sum(node.name(), r.bytes())));
        }
        sums
    }

    /// Returns the highest serial of all zones.
    pub fn highest_serial(&self) -> u32 {
        self.zones.iter().map(Apex::serial).max().unwrap_or(0)
    }

    /// Moves the kept changes of the zone `other` in `from` to `zone`, which continues with the same serial.
    pub fn take_history(&mut self, zone: usize, from: &mut Self, other: usize) {
        self.zones[zone].history = std::mem::take(&mut from.zones[other].history);
    }

    /// Returns the number of names with records, and the number of zones.
    pub fn counts(&self) -> (usize, usize) {
        (self.zones.iter().map(|zone| zone.names).sum(), self.zones.len())
    }
}

impl Diff {
    /// Returns the registered records of each changed name after the change is applied to `zones`.
    pub fn after(&self, zones: &Zones) -> BTreeMap<Box<[u8]>, Vec<u8>> {
        let mut names: BTreeMap<Box<[u8]>, Vec<u8>> = BTreeMap::new();
        let before = |name: &[u8]| zones.node(name).map_or(Vec::new(), |n| n.layer(Layer::Registered).0.to_vec());
        for (name, record) in whole_records(&self.gone) {
            let records = names.entry(name.into()).or_insert_with(|| before(name));
            let kept = Records(records).filter(|r| (r.rtype(), r.data()) != (record.rtype(), record.data()));
            *records = kept.flat_map(|r| r.bytes().iter().copied()).collect();
        }
        for (name, record) in whole_records(&self.new) {
            let records = names.entry(name.into()).or_insert_with(|| before(name));
            put(records, record.rtype(), record.ttl(), record.data(), true);
        }
        names
    }

    /// Returns the visible part of the change. Registered records of a name of the workspace are not served, so
    /// secondaries must not see them.
    pub fn seen(self, zones: &Zones) -> Self {
        let hidden = |name: &[u8]| zones.node(name).is_some_and(|n| !n.layer(Layer::Fixed).is_empty());
        let visible = |records: Vec<u8>| {
            if !whole_records(&records).any(|(name, _)| hidden(name)) {
                return records;
            }
            let kept = whole_records(&records).filter(|(name, _)| !hidden(name));
            kept.flat_map(|(name, record)| [name, record.bytes()].concat()).collect()
        };
        Self { gone: visible(self.gone), new: visible(self.new), ..self }
    }
}

fn sum(name: &[u8], bytes: &[u8]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    (name, bytes).hash(&mut hasher);
    hasher.finish()
}

/// Returns a name in wire format, then the name without its first label, and so on, without the root.
pub fn suffixes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(name);
    std::iter::from_fn(move || {
        let current = rest.take().filter(|n| n.len() > 1)?;
        rest = current.get(1 + usize::from(current[0])..);
        Some(current)
    })
}
