//! Which name servers this machine asks (resolv.conf(5)).

use std::{fs, net::IpAddr};

use super::nameservers::unscoped;

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
    unscoped(text.as_bytes()).into_iter().filter(|address| !address.is_loopback()).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_servers_that_others_can_ask() {
        let text = "# x\nnameserver 127.0.0.53\nnameserver 192.0.2.1\noptions edns0\nnameserver fe80::1%eth0\n\
            nameserver 192.0.2.2 # the router\nnameserver 192.0.2.3;x\n";
        let expected = [1, 2, 3].map(|last| std::net::IpAddr::from([192, 0, 2, last]));
        assert_eq!(super::parse(text), expected);
    }
}
