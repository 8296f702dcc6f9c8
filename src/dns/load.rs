//! From `names.json` to the zones that are served: `internal.` and the reverse zones of its addresses.

use std::{collections::HashSet, net::Ipv4Addr, path::Path};

use super::{
    wire::{self, rtype},
    zones::{Apex, Zones},
};
use crate::{Error, Kind, OrError, Result, names::Names};

/// How long a record of the workspace may be remembered: `lap up` may change it at any time.
const TTL: u32 = 60;
/// How long a missing name may be: shorter, since a name is often asked for just before it is made.
const NEGATIVE_TTL: u32 = 30;

/// Reads `names.json`; the error names the file.
pub fn read(file: &Path) -> Result<Names> {
    let text = std::fs::read(file).or_error(Kind::Config, || format!("cannot read `{}`", file.display()))?;
    serde_json::from_slice(&text).or_error(Kind::Config, || format!("`{}` is not a list of names", file.display()))
}

/// The zones of `names`. Every row must be a name in the zone: a file that lap did not write is refused as a whole.
pub fn zones(names: &Names, serial: u32) -> Result<Zones> {
    let bad = |why: String| Error::new(Kind::Config, format!("names.json: {why}"));
    let apex = wire::name(&names.zone).map_err(|e| bad(format!("zone: {e}")))?;
    let server = wire::name(&names.server).map_err(|e| bad(format!("server: {e}")))?;
    if apex.len() < 2 {
        return Err(bad("zone: missing".into()));
    }
    let soa = soa(&server, &apex, serial);
    let zone = |name: &[u8]| Apex { name: name.into(), soa: soa.clone(), negative_ttl: NEGATIVE_TTL };
    let mut zones = Zones::default();
    zones.add_zone(zone(&apex), TTL, &server);

    let own = names.server_address.map(|address| (&names.server, address));
    let rows = names.hosts.iter().map(|(name, address)| (name, *address)).chain(own);
    let mut reversed = HashSet::new();
    for (text, address) in rows {
        let name = wire::name(text).map_err(|e| bad(format!("hosts: {e}")))?;
        if !zones.add(&name, rtype::A, TTL, &address.octets()) {
            return Err(bad(format!("hosts: `{text}` is not in the zone `{}`", names.zone)));
        }
        // One PTR per address: programs that ask take the first, and its name should be the machine's.
        if reversed.insert(address) {
            let (reverse_zone, reverse_name) = reverse(address);
            if !zones.add(&reverse_name, rtype::PTR, TTL, &name) {
                zones.add_zone(zone(&reverse_zone), TTL, &server);
                zones.add(&reverse_name, rtype::PTR, TTL, &name);
            }
        }
    }
    Ok(zones)
}

/// Reverse zone and name of an address (RFC 1035, section 3.5). Of a private network the whole /24 is ours; of a public one
/// only the address itself, since its neighbours belong to others.
fn reverse(address: Ipv4Addr) -> (Box<[u8]>, Box<[u8]>) {
    let [a, b, c, d] = address.octets();
    let shared = a == 100 && b & 0xc0 == 64; // RFC 6598
    let net = format!("{c}.{b}.{a}.in-addr.arpa");
    let name = encode(&format!("{d}.{net}"));
    if address.is_private() || address.is_loopback() || address.is_link_local() || shared {
        (encode(&net), name)
    } else {
        (name.clone(), name)
    }
}

fn encode(text: &str) -> Box<[u8]> {
    wire::name(text).expect("numbers and in-addr.arpa are a name")
}

/// SOA data (RFC 1035, section 3.3.13), with a mail address every zone should have.
fn soa(server: &[u8], zone: &[u8], serial: u32) -> Box<[u8]> {
    const REFRESH: u32 = 3600;
    const RETRY: u32 = 600;
    const EXPIRE: u32 = 7 * 86400;
    let numbers = [serial, REFRESH, RETRY, EXPIRE, NEGATIVE_TTL];
    let mut data = [server, b"\x0ahostmaster", zone].concat();
    data.extend(numbers.iter().flat_map(|n| n.to_be_bytes()));
    data.into()
}
