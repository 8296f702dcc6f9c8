//! The name servers that this machine uses (resolv.conf(5)).

use std::{fs, net::IpAddr};

use super::nameservers::unscoped;

/// Returns this machine's name servers. If all of them are on loopback (the stub of systemd-resolved), other machines
/// cannot use them. Then it returns the servers behind the stub.
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
    fn only_servers_that_other_machines_can_use_are_returned() {
        let text = "# x\nnameserver 127.0.0.53\nnameserver 192.0.2.1\noptions edns0\nnameserver fe80::1%eth0\n\
            nameserver 192.0.2.2 # the router\nnameserver 192.0.2.3;x\n";
        let expected = [1, 2, 3].map(|last| std::net::IpAddr::from([192, 0, 2, last]));
        assert_eq!(super::parse(text), expected);
    }
}
