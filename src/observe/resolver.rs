//! Which name servers this machine asks (resolv.conf(5)).

use std::{fs, net::IpAddr};

/// This machine's name servers. Those on loopback (systemd-resolved's stub) cannot be asked from elsewhere: then the
/// servers behind the stub.
pub fn upstreams() -> Vec<IpAddr> {
    let servers = parse(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    if !servers.is_empty() {
        return servers;
    }
    parse(&fs::read_to_string("/run/systemd/resolve/resolv.conf").unwrap_or_default())
}

fn parse(text: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().parse::<IpAddr>().ok())
        .filter(|address| !address.is_loopback())
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_servers_that_others_can_ask() {
        let text = "# x\nnameserver 127.0.0.53\nnameserver 192.0.2.1\noptions edns0\nnameserver fe80::1%eth0\n";
        assert_eq!(super::parse(text), ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
    }
}
