//! Networks of clients that may ask for names outside the server's zones and have no rate limit.

use std::net::IpAddr;

/// A list of networks. IPv4 networks are stored as IPv4-mapped IPv6 addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks(Vec<(u128, u32)>);

/// Loopback, private, link-local and shared addresses (RFC 6890): the addresses behind the router of an office.
const PRIVATE: [&str; 9] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "100.64.0.0/10",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

impl Networks {
    /// Parses networks such as `192.168.0.0/24` and `2001:db8::/32`, and single addresses. The error names the wrong
    /// entry.
    pub fn parse<T: AsRef<str>>(list: &[T]) -> Result<Self, String> {
        let one = |text: &T| {
            let text = text.as_ref();
            let wrong = || format!("`{text}` is not a network: write e.g. `192.168.0.0/24`");
            let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
            let address: IpAddr = address.parse().map_err(|_| wrong())?;
            let width = if address.is_ipv4() { 32 } else { 128 };
            let bits: u32 = bits.map_or(Ok(width), str::parse).map_err(|_| wrong())?;
            let bits = (bits <= width).then_some(bits + 128 - width).ok_or_else(wrong)?;
            Ok((number(address) & mask(bits), bits))
        };
        list.iter().map(one).collect::<Result<_, String>>().map(Self)
    }

    /// Returns the networks of [`PRIVATE`].
    pub fn private() -> Self {
        Self::parse(&PRIVATE).expect("they are networks")
    }

    /// Returns whether `address` is in one of the networks.
    pub fn contains(&self, address: IpAddr) -> bool {
        let number = number(address);
        self.0.iter().any(|(network, bits)| number & mask(*bits) == *network)
    }
}

fn mask(bits: u32) -> u128 {
    u128::MAX.checked_shl(128 - bits).unwrap_or(0)
}

/// Returns the address as a number: an IPv4 address as its IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2).
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
        IpAddr::V6(address) => u128::from(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_matched_with_networks() {
        let inside = |list: &[&str], address: &str| Networks::parse(list).unwrap().contains(address.parse().unwrap());
        assert!(inside(&["192.168.7.0/24"], "192.168.7.255") && !inside(&["192.168.7.0/24"], "192.168.8.0"));
        assert!(inside(&["192.168.7.9/24"], "192.168.7.1"), "host bits are ignored");
        assert!(inside(&["10.1.2.3"], "10.1.2.3") && !inside(&["10.1.2.3"], "10.1.2.4"));
        assert!(inside(&["192.168.7.0/24"], "::ffff:192.168.7.1"), "an IPv4 client on an IPv6 socket");
        assert!(inside(&["2001:db8::/32"], "2001:db8:1::1") && !inside(&["2001:db8::/32"], "2001:db9::"));
        assert!(inside(&["0.0.0.0/0"], "8.8.8.8") && !inside(&["0.0.0.0/0"], "2001:db8::1"));
        assert!(inside(&["::/0"], "8.8.8.8"));
        let private = Networks::private();
        for (address, expected) in
            [("127.0.0.2", true), ("172.31.0.1", true), ("172.32.0.1", false), ("8.8.8.8", false), ("fd00::1", true)]
        {
            assert_eq!(private.contains(address.parse().unwrap()), expected, "{address}");
        }
        for wrong in ["", "x", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "10.0.0.0/"] {
            assert!(Networks::parse(&[wrong]).unwrap_err().contains("is not a network"), "{wrong}");
        }
    }
}
