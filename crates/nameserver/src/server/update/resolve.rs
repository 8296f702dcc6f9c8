//! What an update does to the zone (RFC 2136, section 3). Pure: from the zones and what is about to be made of them to the
//! change, or the code of the refusal.

use std::collections::{BTreeMap, BTreeSet};

use super::request::{Prerequisite, UpdateOperation, UpdateRequest};
use crate::server::{
    keyring::TsigKey,
    wire::{self, rcode, rtype},
    zones::{Diff, Layer, Records, Zones, node::put, record::ZoneRecord, write},
};

/// The registered records of names, as they will be: what is decided but not yet in the zones.
pub type Pending = BTreeMap<Box<[u8]>, Vec<u8>>;

/// The zones as they will be.
pub struct View<'a> {
    pub zones: &'a Zones,
    pub pending: &'a Pending,
}

impl View<'_> {
    fn registered(&self, name: &[u8]) -> Vec<u8> {
        match self.pending.get(name) {
            Some(records) => records.clone(),
            None => self.zones.node(name).map_or(Vec::new(), |n| n.layer(Layer::Registered).0.to_vec()),
        }
    }

    /// The name has records in the workspace: these count, and no update changes them.
    fn fixed(&self, name: &[u8]) -> Option<Records<'_>> {
        Some(self.zones.node(name)?.layer(Layer::Fixed)).filter(|r| !r.is_empty())
    }
}

/// What an update comes to.
#[derive(Debug, Default)]
pub struct ResolvedUpdate {
    /// The new registered records of the names it changes.
    pub names: Pending,
    /// Whole records that go and come.
    pub gone: Vec<u8>,
    pub new: Vec<u8>,
    /// The names and types it registers, whether or not they were there.
    pub registered: BTreeSet<(Box<[u8]>, u16)>,
}

impl ResolvedUpdate {
    /// It changes nothing.
    pub fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.new.is_empty()
    }
}

/// Decides one update by `key`. An error is the code of the reply, and why.
pub fn resolve(view: &View, request: &UpdateRequest, key: &TsigKey) -> Result<ResolvedUpdate, (u16, String)> {
    if view.zones.zone(&request.zone).is_none() {
        return Err((rcode::NOTAUTH, format!("`{}` is not a zone of this server", wire::text(&request.zone))));
    }
    prerequisites(view, &request.prerequisites)?;
    for change in &request.changes {
        let name = || wire::text(change.name());
        if !key.may_change(change.name()) {
            return Err((rcode::REFUSED, format!("it may not change `{}`", name())));
        }
        if view.fixed(change.name()).is_some() {
            return Err((rcode::REFUSED, format!("`{}` is a name of the workspace", name())));
        }
    }
    let mut outcome = ResolvedUpdate::default();
    for change in &request.changes {
        let name = change.name();
        let records = outcome.names.entry(name.into()).or_insert_with(|| view.registered(name));
        make(records, change, &mut outcome.registered);
    }
    let mut diff = Diff::default();
    for (name, records) in &outcome.names {
        if records.len() > MAX_RECORDS {
            let name = wire::text(name);
            return Err((rcode::REFUSED, format!("`{name}` would have more records than a reply can contain")));
        }
        differ(name, &view.registered(name), records, &mut diff);
    }
    (outcome.gone, outcome.new) = (diff.gone, diff.new);
    Ok(outcome)
}

/// The most bytes of records one name may get.
const MAX_RECORDS: usize = 8 << 10;

fn prerequisites(view: &View, all: &[Prerequisite]) -> Result<(), (u16, String)> {
    // All records of one name and type that must be exactly so (RFC 2136, section 3.2.3).
    let mut exactly: BTreeMap<(&[u8], u16), BTreeSet<&[u8]>> = BTreeMap::new();
    for prerequisite in all {
        let (name, code, wished) = match prerequisite {
            Prerequisite::Used(name) => (name, rcode::NXDOMAIN, "has no records"),
            Prerequisite::Unused(name) => (name, rcode::YXDOMAIN, "has records"),
            Prerequisite::Has(name, _) => (name, rcode::NXRRSET, "has no such records"),
            Prerequisite::HasNot(name, _) => (name, rcode::YXRRSET, "has such records"),
            Prerequisite::Exactly(name, rtype, data) => {
                exactly.entry((name, *rtype)).or_default().insert(data);
                continue;
            }
        };
        let registered = view.registered(name);
        let records = view.fixed(name).unwrap_or(Records(&registered));
        let fails = match prerequisite {
            Prerequisite::Used(_) => records.is_empty(),
            Prerequisite::Unused(_) => !records.is_empty(),
            Prerequisite::Has(_, rtype) => !records.has(*rtype),
            Prerequisite::HasNot(_, rtype) => records.has(*rtype),
            Prerequisite::Exactly(..) => false,
        };
        if fails {
            return Err((code, format!("`{}` {wished}", wire::text(name))));
        }
    }
    for ((name, rtype), wished) in exactly {
        let registered = view.registered(name);
        let records = view.fixed(name).unwrap_or(Records(&registered));
        if records.of(rtype).map(ZoneRecord::data).collect::<BTreeSet<_>>() != wished {
            return Err((rcode::NXRRSET, format!("`{}` has other records", wire::text(name))));
        }
    }
    Ok(())
}

/// Makes one change (RFC 2136, section 3.4.2) to a name's records.
fn make(records: &mut Vec<u8>, change: &UpdateOperation, registered: &mut BTreeSet<(Box<[u8]>, u16)>) {
    let keep = |records: &[u8], kept: &dyn Fn(&ZoneRecord) -> bool| -> Vec<u8> {
        Records(records).filter(|r| kept(r)).flat_map(|r| r.bytes().iter().copied()).collect()
    };
    match change {
        UpdateOperation::Add { name, rtype: kind, ttl, data } => {
            let alias = *kind == rtype::CNAME;
            // An alias has nothing beside it, and what is there stays.
            if Records(records).any(|r| (r.rtype() == rtype::CNAME) != alias) {
                return;
            }
            if alias {
                records.clear();
                write(records, *kind, *ttl, data);
            } else {
                put(records, *kind, *ttl, data, true);
            }
            registered.insert((name.clone(), *kind));
        }
        UpdateOperation::Remove { rtype: kind, data, .. } => {
            *records = keep(records, &|r| r.rtype() != *kind || r.data() != data);
        }
        UpdateOperation::RemoveType { rtype: kind, .. } => *records = keep(records, &|r| r.rtype() != *kind),
        UpdateOperation::RemoveName { .. } => records.clear(),
    }
}

/// Adds to `diff` what differs between two states of a name.
pub fn differ(name: &[u8], before: &[u8], after: &[u8], diff: &mut Diff) {
    let has = |records: &[u8], record: &ZoneRecord| Records(records).any(|r| r == *record);
    let whole = |to: &mut Vec<u8>, record: ZoneRecord| {
        to.extend_from_slice(name);
        to.extend_from_slice(record.bytes());
    };
    Records(before).filter(|r| !has(after, r)).for_each(|r| whole(&mut diff.gone, r));
    Records(after).filter(|r| !has(before, r)).for_each(|r| whole(&mut diff.new, r));
}
