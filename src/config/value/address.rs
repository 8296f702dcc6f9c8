//! Addresses: the lab's subnet, and what is written for a machine in it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::config::{
    model::{Address, Subnet},
    problem::shown,
};

impl Subnet {
    /// The address `offset` after the network's own, if it is one that a machine may have.
    pub fn nth(&self, offset: u32) -> Option<Ipv4Addr> {
        let address = Ipv4Addr::from(u32::from(self.base).checked_add(offset)?);
        self.holds(address).then_some(address)
    }

    /// The router's address (and the lab bridge's own): the first.
    pub fn router(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base) + 1)
    }

    /// True for addresses that a machine may have: neither the network's own nor the broadcast address.
    pub fn holds(&self, address: Ipv4Addr) -> bool {
        let (base, address) = (u32::from(self.base), u32::from(address));
        address > base && address < base + (u32::MAX >> self.prefix)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl Address {
    /// The address itself, given the lab's subnet; `None` where it is not in it.
    pub fn resolve(&self, subnet: &Subnet) -> Option<Ipv4Addr> {
        match self {
            Address::Offset(offset) => subnet.nth((*offset).into()),
            Address::Full(address) => Some(*address),
        }
    }

    /// The address itself, where all of it is written.
    pub fn full(&self) -> Option<Ipv4Addr> {
        match self {
            Address::Offset(_) => None,
            Address::Full(address) => Some(*address),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Offset(offset) => write!(f, ".{offset}"),
            Address::Full(address) => address.fmt(f),
        }
    }
}

/// `192.168.0.0/24`
pub fn subnet(text: &str) -> Result<Subnet, String> {
    let parts = text.split_once('/').and_then(|(base, prefix)| Some((base.parse().ok()?, prefix.parse().ok()?)));
    let Some((written, prefix)): Option<(Ipv4Addr, u8)> = parts else {
        return Err(format!("{} is not a subnet: write ADDRESS/PREFIX, e.g. `192.168.0.0/24`", shown(text)));
    };
    if !(8..=29).contains(&prefix) {
        return Err(format!("a prefix of {prefix} is not possible: write 8 to 29, e.g. `192.168.0.0/24`"));
    }
    let base = Ipv4Addr::from(u32::from(written) & !(u32::MAX >> prefix));
    if base != written {
        return Err(format!("{} is an address inside a subnet: write `{base}/{prefix}`", shown(text)));
    }
    if base.is_unspecified() || base.is_loopback() || base.is_multicast() || base.octets()[0] >= 240 {
        return Err(format!("{} is not a private subnet: write one, e.g. `192.168.0.0/24`", shown(text)));
    }
    Ok(Subnet { base, prefix })
}

/// `.10` (an offset in the subnet) or `192.168.0.10`
pub fn address(text: &str) -> Result<Address, String> {
    let wrong = || format!("{} is not an address: write an offset such as `.10`, or a full address", shown(text));
    if let Some(offset) = text.strip_prefix('.') {
        if offset.is_empty() || !offset.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        return match offset.parse() {
            Ok(0) => Err("`.0` is the subnet's own address: write `.2` to `.254`".to_owned()),
            Ok(1) => Err("`.1` is the router's address: write `.2` to `.254`".to_owned()),
            Ok(255) => Err("`.255` is the broadcast address: write `.2` to `.254`".to_owned()),
            Ok(offset) => Ok(Address::Offset(offset)),
            Err(_) => Err(format!("{} is not an offset: write `.2` to `.254`", shown(text))),
        };
    }
    text.parse().map(Address::Full).map_err(|_| wrong())
}

/// An address of the host, for `publish`.
pub fn publish(text: &str) -> Result<Ipv4Addr, String> {
    let wrong = || format!("{} is not an address of this host: write e.g. `192.168.0.2`", shown(text));
    let address: Ipv4Addr = text.parse().map_err(|_| wrong())?;
    if address.is_multicast() || address.is_broadcast() { Err(wrong()) } else { Ok(address) }
}

/// A DNS server to ask.
pub fn upstream(text: &str) -> Result<std::net::IpAddr, String> {
    text.parse().map_err(|_| format!("{} is not an address: write a DNS server's, e.g. `9.9.9.9`", shown(text)))
}

/// A DNS server: an address, with a port where that is not 53.
pub fn server(text: &str) -> Result<SocketAddr, String> {
    let parsed = text.parse().or_else(|_| text.parse::<IpAddr>().map(|address| (address, 53).into()));
    parsed.map_err(|_| {
        format!("{} is not an address: write a DNS server's, e.g. `192.168.0.9` or `192.168.0.9:5353`", shown(text))
    })
}

/// A network of machines, IPv4 or IPv6: `192.168.0.0/24`, or one address.
pub fn network(text: &str) -> Result<String, String> {
    let wrong = || format!("{} is not a network: write ADDRESS/PREFIX, e.g. `192.168.0.0/24`", shown(text));
    let (base, prefix) = text.split_once('/').map_or((text, None), |(base, prefix)| (base, Some(prefix)));
    let base: IpAddr = base.parse().map_err(|_| wrong())?;
    let bits = if base.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => bits,
        Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= bits).ok_or_else(wrong)?,
    };
    let network: IpAddr = match base {
        IpAddr::V4(base) => Ipv4Addr::from(u32::from(base) & u32::MAX.checked_shl(32 - prefix).unwrap_or(0)).into(),
        IpAddr::V6(base) => Ipv6Addr::from(u128::from(base) & u128::MAX.checked_shl(128 - prefix).unwrap_or(0)).into(),
    };
    if network != base {
        return Err(format!("{} is an address inside a network: write `{network}/{prefix}`", shown(text)));
    }
    Ok(format!("{network}/{prefix}"))
}

/// A network whose reverse zone is the lab's own.
pub fn reverse(text: &str) -> Result<String, String> {
    let network = network(text)?;
    let prefix = network.split_once('/').and_then(|(_, prefix)| prefix.parse::<u8>().ok());
    if network.contains(':') || prefix.is_none_or(|prefix| prefix < 8) {
        return Err(format!(
            "{} has no reverse zone in lap: write an IPv4 network, e.g. `192.168.0.0/24`",
            shown(text)
        ));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::{super::messages, *};

    #[test]
    fn resolves_in_the_subnet() {
        let net = subnet("192.168.0.16/28").unwrap();
        assert_eq!(net.to_string(), "192.168.0.16/28");
        assert_eq!(net.router(), Ipv4Addr::new(192, 168, 0, 17));
        assert_eq!(address(".2").unwrap().resolve(&net), Some(Ipv4Addr::new(192, 168, 0, 18)));
        assert_eq!(address(".14").unwrap().resolve(&net), Some(Ipv4Addr::new(192, 168, 0, 30)));
        assert_eq!(address(".15").unwrap().resolve(&net), None, "broadcast");
        assert_eq!(address("10.0.0.1").unwrap().resolve(&net), Some(Ipv4Addr::new(10, 0, 0, 1)));
    }

    #[test]
    fn bad_addresses() {
        messages(
            subnet,
            &[
                ("192.168.0.0", "`192.168.0.0` is not a subnet: write ADDRESS/PREFIX, e.g. `192.168.0.0/24`"),
                ("192.168.0.0/33", "a prefix of 33 is not possible: write 8 to 29, e.g. `192.168.0.0/24`"),
                ("192.168.0.7/24", "`192.168.0.7/24` is an address inside a subnet: write `192.168.0.0/24`"),
                ("127.0.0.0/8", "`127.0.0.0/8` is not a private subnet: write one, e.g. `192.168.0.0/24`"),
                ("255.0.0.0/8", "`255.0.0.0/8` is not a private subnet: write one, e.g. `192.168.0.0/24`"),
            ],
        );
        messages(
            address,
            &[
                (".0", "`.0` is the subnet's own address: write `.2` to `.254`"),
                (".1", "`.1` is the router's address: write `.2` to `.254`"),
                (".255", "`.255` is the broadcast address: write `.2` to `.254`"),
                (".256", "`.256` is not an offset: write `.2` to `.254`"),
                (".+5", "`.+5` is not an address: write an offset such as `.10`, or a full address"),
                ("10", "`10` is not an address: write an offset such as `.10`, or a full address"),
                ("fe80::1", "`fe80::1` is not an address: write an offset such as `.10`, or a full address"),
            ],
        );
        messages(
            publish,
            &[
                ("eth0", "`eth0` is not an address of this host: write e.g. `192.168.0.2`"),
                (".5", "`.5` is not an address of this host: write e.g. `192.168.0.2`"),
                ("224.0.0.1", "`224.0.0.1` is not an address of this host: write e.g. `192.168.0.2`"),
            ],
        );
        messages(
            network,
            &[
                ("office", "`office` is not a network: write ADDRESS/PREFIX, e.g. `192.168.0.0/24`"),
                ("10.0.0.0/33", "`10.0.0.0/33` is not a network: write ADDRESS/PREFIX, e.g. `192.168.0.0/24`"),
                ("10.0.0.1/8", "`10.0.0.1/8` is an address inside a network: write `10.0.0.0/8`"),
                ("fd00::1/8", "`fd00::1/8` is an address inside a network: write `fd00::/8`"),
            ],
        );
        for (text, want) in
            [("10.0.0.1", "10.0.0.1/32"), ("0.0.0.0/0", "0.0.0.0/0"), ("::/0", "::/0"), ("fd00::/8", "fd00::/8")]
        {
            assert_eq!(network(text).as_deref(), Ok(want));
        }
        messages(
            reverse,
            &[
                ("fd00::/8", "`fd00::/8` has no reverse zone in lap: write an IPv4 network, e.g. `192.168.0.0/24`"),
                ("0.0.0.0/0", "`0.0.0.0/0` has no reverse zone in lap: write an IPv4 network, e.g. `192.168.0.0/24`"),
            ],
        );
        messages(
            server,
            &[("ns:53", "`ns:53` is not an address: write a DNS server's, e.g. `192.168.0.9` or `192.168.0.9:5353`")],
        );
        assert_eq!(server("10.0.0.9").unwrap().to_string(), "10.0.0.9:53");
        assert_eq!(server("[fd00::9]:54").unwrap().to_string(), "[fd00::9]:54");
        messages(
            upstream,
            &[("dns.quad9.net", "`dns.quad9.net` is not an address: write a DNS server's, e.g. `9.9.9.9`")],
        );
    }
}
