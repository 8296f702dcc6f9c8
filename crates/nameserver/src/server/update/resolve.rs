//! Resolves an update (RFC 2136, section 3). This module is pure: it computes the change, or the response code of a
//! refusal, from the zones and the changes that are not yet applied.

use std::collections::{BTreeMap, BTreeSet};

use super::request::{Prerequisite, UpdateOperation, UpdateRequest};
use crate::server::{
    keyring::TsigKey,
    wire::{self, rcode, rtype},
    zones::{Diff, Layer, Records, Zones, node::put, record::ZoneRecord, write},
};

/// The registered records of changed names, as decided but not yet applied to the zones.
pub type Pending = BTreeMap<Box<[u8]>, Vec<u8>>;

/// The zones together with the pending changes.
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

    /// Returns the records of the name in the workspace, if it has any. They are served, and updates cannot change
    /// them.
    fn fixed(&self, name: &[u8]) -> Option<Records<'_>> {
        Some(self.zones.node(name)?.layer(Layer::Fixed)).filter(|r| !r.is_empty())
    }
}

/// The result of an update.
#[derive(Debug, Default)]
pub struct ResolvedUpdate {
    /// The new registered records of each changed name.
    pub names: Pending,
    /// The removed records, each with its owner's name.
    pub gone: Vec<u8>,
    /// The added records, each with its owner's name.
    pub new: Vec<u8>,
    /// The names and types that the update registers, whether or not they existed before.
    pub registered: BTreeSet<(Box<[u8]>, u16)>,
}

impl ResolvedUpdate {
    /// Returns whether the update changes nothing.
    pub fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.new.is_empty()
    }
}

/// Resolves an update by `key`. The error is the response code and the reason.
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

/// The maximum size in bytes of the records of one name.
const MAX_RECORDS: usize = 8 << 10;

fn prerequisites(view: &View, all: &[Prerequisite]) -> Result<(), (u16, String)> {
    // The complete sets of records, by name and type (RFC 2136, section 3.2.3).
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

/// Applies one change to a name's records (RFC 2136, section 3.4.2).
fn make(records: &mut Vec<u8>, change: &UpdateOperation, registered: &mut BTreeSet<(Box<[u8]>, u16)>) {
    let keep = |records: &[u8], kept: &dyn Fn(&ZoneRecord) -> bool| -> Vec<u8> {
        Records(records).filter(|r| kept(r)).flat_map(|r| r.bytes().iter().copied()).collect()
    };
    match change {
        UpdateOperation::Add { name, rtype: kind, ttl, data } => {
            let alias = *kind == rtype::CNAME;
            // A CNAME cannot exist beside other records. The record that exists already remains.
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

/// Adds the difference between two states of a name to `diff`.
pub fn differ(name: &[u8], before: &[u8], after: &[u8], diff: &mut Diff) {
    let has = |records: &[u8], record: &ZoneRecord| Records(records).any(|r| r == *record);
    let whole = |to: &mut Vec<u8>, record: ZoneRecord| {
        to.extend_from_slice(name);
        to.extend_from_slice(record.bytes());
    };
    Records(before).filter(|r| !has(after, r)).for_each(|r| whole(&mut diff.gone, r));
    Records(after).filter(|r| !has(before, r)).for_each(|r| whole(&mut diff.new, r));
}
