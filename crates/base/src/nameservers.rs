//! The name servers in a resolv.conf(5). All code that reads such a file uses this parser.

use std::net::IpAddr;

use resolv_conf::{Config, ScopedIp};

/// Returns the servers in their order. Lines that the parser does not understand are ignored, as glibc ignores them.
pub fn all(text: &[u8]) -> Vec<ScopedIp> {
    Config::parse_with_errors(text).0.nameservers
}

/// Returns the servers that another machine or another program can use. It leaves out a link-local address with its
/// interface (`%eth0`), because such an address is valid on this machine only.
pub fn unscoped(text: &[u8]) -> Vec<IpAddr> {
    let address = |server| match server {
        ScopedIp::V4(address) => Some(IpAddr::V4(address)),
        ScopedIp::V6(address, None) => Some(IpAddr::V6(address)),
        ScopedIp::V6(_, Some(_)) => None,
    };
    all(text).into_iter().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_ignored_and_scoped_addresses_are_left_out() {
        let text = b"# nameserver 192.0.2.9\n\xff\nsearch a\nnameserver 127.0.0.11\n nameserver\t9.9.9.9 # quad9\n\
            nameserver 192.0.2.1;x\nnameservers 1.1.1.1\nnameserver1.1.1.2\nnameserver x\nnameserver\nnameserver fe80::1%eth0\n\
            nameserver 2001:db8::1 #\nnameserver 192.0.2.2 more\n";
        let every: Vec<String> = all(text).iter().map(ToString::to_string).collect();
        let expected = ["127.0.0.11", "9.9.9.9", "192.0.2.1", "fe80::1%eth0", "2001:db8::1", "192.0.2.2"];
        assert_eq!(every, expected);
        let without = expected.iter().filter(|server| !server.contains('%')).copied();
        assert!(unscoped(text).iter().map(ToString::to_string).eq(without));
    }
}
