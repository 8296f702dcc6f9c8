//! What the office's DHCP server has to tell, so that every machine asks the lab.

use std::net::Ipv4Addr;

/// The options (RFC 2132: 6 domain name servers; RFC 3397: 119 domain search), and lines to paste for two servers. The
/// search domain is optional: with it `git` alone is enough.
pub fn dhcp(zone: &str, servers: &[Ipv4Addr]) -> String {
    let zone = zone.trim_end_matches('.');
    let join = |by: &str| servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(by);
    let (comma, spaced) = (join(","), join(", "));
    format!(
        "\
option 6    domain-name-servers  {spaced}
option 119  domain-search        {zone}    (optional; older clients take option 15, domain-name)

dnsmasq.conf:
  dhcp-option=option:dns-server,{comma}
  dhcp-option=option:domain-search,{zone}

dhcpd.conf:
  option domain-name-servers {spaced};
  option domain-search \"{zone}\";
"
    )
}
