//! The reverse names of addresses (RFC 1035, section 3.5; RFC 3596, section 2.5) and the zones that contain them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::wire;

/// The maximum number of reverse zones for one network.
const MAX_ZONES: u32 = 256;

/// Returns the reverse name of an address in wire format.
pub fn name(address: IpAddr) -> Box<[u8]> {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            encode(&format!("{d}.{c}.{b}.{a}.in-addr.arpa"))
        }
        IpAddr::V6(address) => nibbles(address, 32),
    }
}

/// Returns the reverse zone that the server has because a host has this address. For a private address it is the whole
/// /24. For a public address it is the address alone, because the neighbouring addresses belong to others.
pub fn zone_of(address: Ipv4Addr) -> Box<[u8]> {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && b & 0xc0 == 64; // RFC 6598
    if address.is_private() || address.is_loopback() || address.is_link_local() || shared {
        encode(&format!("{c}.{b}.{a}.in-addr.arpa"))
    } else {
        name(address.into())
    }
}

/// Returns the reverse zones of a network `ADDRESS/BITS`. Zones end at whole labels: a /22 is four zones, and a /25
/// lies in the zone of its /24.
pub fn zones(network: &str) -> Result<Vec<Box<[u8]>>, String> {
    let wrong = || format!("`{network}` is not a network: write e.g. `192.168.0.0/24`");
    let (address, bits) = network.split_once('/').ok_or_else(wrong)?;
    let bits: u32 = bits.parse().map_err(|_| wrong())?;
    match address.parse().map_err(|_| wrong())? {
        IpAddr::V4(address) if (8..=32).contains(&bits) => {
            let labels = bits.div_ceil(8).min(3);
            let step = 1u32 << (32 - 8 * labels);
            let count = 1u32 << (8 * labels).saturating_sub(bits);
            if count > MAX_ZONES {
                return Err(format!("`{network}` is too wide"));
            }
            let base = u32::from(address) & (u32::MAX << (32 - bits)) & !(step - 1);
            let zone = |i| {
                let octets = Ipv4Addr::from(base + i * step).octets();
                let labels: Vec<String> = octets[..labels as usize].iter().rev().map(u8::to_string).collect();
                encode(&format!("{}.in-addr.arpa", labels.join(".")))
            };
            Ok((0..count).map(zone).collect())
        }
        IpAddr::V6(address) if (16..=128).contains(&bits) => {
            let labels = bits.div_ceil(4).min(16);
            let count = 1u128 << (4 * labels).saturating_sub(bits);
            let base = u128::from(address) & (u128::MAX << (128 - bits)) & (u128::MAX << (128 - 4 * labels));
            let zone = |i| nibbles(Ipv6Addr::from(base + (i << (128 - 4 * labels))), labels as usize);
            Ok((0..count).map(zone).collect())
        }
        _ => Err(wrong()),
    }
}

fn nibbles(address: Ipv6Addr, count: usize) -> Box<[u8]> {
    let digits = address.octets().into_iter().flat_map(|o| [o >> 4, o & 15]).take(count);
    let labels: Vec<String> = digits.map(|d| format!("{d:x}")).collect();
    encode(&format!("{}.ip6.arpa", labels.into_iter().rev().collect::<Vec<_>>().join(".")))
}

fn encode(text: &str) -> Box<[u8]> {
    wire::name(text).expect("digits and arpa are a name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_cut_at_whole_labels() {
        let shown = |network: &str| {
            zones(network).map(|z| z.iter().map(|z| wire::text(z)).collect::<Vec<_>>().join(" ")).unwrap_or_else(|e| e)
        };
        assert_eq!(shown("192.168.7.0/24"), "7.168.192.in-addr.arpa.");
        assert_eq!(shown("192.168.7.128/25"), "7.168.192.in-addr.arpa.");
        assert_eq!(shown("192.168.6.0/23"), "6.168.192.in-addr.arpa. 7.168.192.in-addr.arpa.");
        assert_eq!(shown("10.0.0.0/8"), "10.in-addr.arpa.");
        assert_eq!(shown("172.16.0.0/16"), "16.172.in-addr.arpa.");
        assert_eq!(zones("172.16.0.0/12").unwrap().len(), 16);
        assert_eq!(shown("fd00::/16"), "0.0.d.f.ip6.arpa.");
        assert_eq!(shown("2001:db8::/47"), "0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. 1.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.");
        assert_eq!(shown("fd00::/64"), "0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.");
        for wrong in ["", "10.0.0.0", "10.0.0.0/7", "10.0.0.0/33", "x/24", "fd00::/8", "fd00::/129"] {
            assert!(shown(wrong).contains("is not a network"), "{wrong}");
        }
        assert_eq!(wire::text(&name("2001:db8::1".parse().unwrap())).matches('.').count(), 34);
    }
}
