//! Makes the served zones from `names.json`: the zone of the workspace and the reverse zones of its addresses.

use std::{collections::HashSet, net::Ipv4Addr, path::Path};

use lap_base::{Error, Kind, OrError, Result};

use super::{
    records, reverse,
    wire::{self, rtype},
    zones::{Lookup, NotAdded, Zones},
};
use crate::names::Names;

/// The TTL of the workspace's records in seconds. It is short, because `lap up` may change them at any time.
const TTL: u32 = 60;
/// The TTL of a negative answer in seconds. It is shorter, because clients often ask for a name just before it is
/// created.
const NEGATIVE_TTL: u32 = 30;

/// Reads `names.json`. The error names the file.
pub fn read(file: &Path) -> Result<Names> {
    let text = std::fs::read(file).or_error(Kind::Config, || format!("cannot read `{}`", file.display()))?;
    serde_json::from_slice(&text).or_error(Kind::Config, || format!("`{}` is not a list of names", file.display()))
}

/// Makes the zones of `names`, all with the same serial. If a row is wrong or outside the zone, the whole file is
/// refused.
pub fn zones(names: &Names, serial: u32) -> Result<Zones> {
    let apex = wire::name(&names.zone).map_err(|e| bad(format!("zone: {e}")))?;
    let server = wire::name(&names.server).map_err(|e| bad(format!("server: {e}")))?;
    if apex.len() < 2 {
        return Err(bad("zone: missing".into()));
    }
    let mut loading = Loading {
        zones: Zones::with_capacity(2 * names.hosts.len() + names.records.len()),
        soa: soa(&server, &apex, serial),
        server,
    };
    loading.zone(&apex);
    for network in &names.reverse {
        for name in reverse::zones(network).map_err(|e| bad(format!("reverse: {e}")))? {
            loading.zone(&name);
        }
    }
    let own = names.server_address.map(|address| (&names.server, address));
    let rows = names.hosts.iter().map(|(name, address)| (name, *address)).chain(own);
    let mut reversed = HashSet::with_capacity(names.hosts.len());
    for (text, address) in rows {
        let name = wire::name(text).map_err(|e| bad(format!("hosts: {e}")))?;
        let added = loading.zones.add(&name, rtype::A, TTL, &address.octets());
        added.map_err(|e| not_added("hosts", text, &names.zone, e))?;
        // Each address gets one PTR record, because most programs use only the first one.
        if reversed.insert(address) {
            loading.pointer(address, &name).map_err(|e| not_added("hosts", text, &names.zone, e))?;
        }
    }
    for (text, rtype, data) in &names.records {
        let bad = |why: String| bad(format!("records: `{text} {rtype} {data}`: {why}"));
        let name = wire::name(text).map_err(bad)?;
        let (rtype, data) = records::parse(rtype, data).map_err(bad)?;
        let added = loading.zones.add(&name, rtype, TTL, &data);
        added.map_err(|e| not_added("records", text, &names.zone, e))?;
    }
    Ok(loading.zones)
}

fn bad(why: String) -> Error {
    Error::new(Kind::Config, format!("names.json: {why}"))
}

fn not_added(list: &str, name: &str, zone: &str, why: NotAdded) -> Error {
    bad(match why {
        NotAdded::Outside => format!("{list}: `{name}` is not in the zone `{zone}`"),
        NotAdded::Full => format!("{list}: `{name}` has more records than a reply can contain"),
    })
}

/// The zones while they are filled.
struct Loading {
    zones: Zones,
    soa: Box<[u8]>,
    server: Box<[u8]>,
}

impl Loading {
    fn zone(&mut self, name: &[u8]) {
        if matches!(self.zones.find(name), Lookup::Outside) {
            self.zones.add_zone(name, &self.soa, NEGATIVE_TTL, TTL, &self.server);
        }
    }

    fn pointer(&mut self, address: Ipv4Addr, to: &[u8]) -> std::result::Result<(), NotAdded> {
        let name = reverse::name(address.into());
        if let Err(NotAdded::Outside) = self.zones.add(&name, rtype::PTR, TTL, to) {
            self.zone(&reverse::zone_of(address));
            self.zones.add(&name, rtype::PTR, TTL, to)?;
        }
        Ok(())
    }
}

/// Returns the data of a SOA record (RFC 1035, section 3.3.13) with the mail address `hostmaster`.
fn soa(server: &[u8], zone: &[u8], serial: u32) -> Box<[u8]> {
    // A secondary that missed the NOTIFY checks the serial after this time. In an office network this costs little.
    const REFRESH: u32 = 300;
    const RETRY: u32 = 60;
    const EXPIRE: u32 = 7 * 86400;
    let numbers = [serial, REFRESH, RETRY, EXPIRE, NEGATIVE_TTL];
    let mut data = [server, b"\x0ahostmaster", zone].concat();
    data.extend(numbers.iter().flat_map(|n| n.to_be_bytes()));
    data.into()
}
