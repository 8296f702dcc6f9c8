//! The network in which virtual machines of one host are together.

use super::model::{Node, Provider, Role, Subnet};

/// Where nothing says otherwise.
pub const PREFIX: u8 = 24;

/// The network around a machine's address: the lab's subnet if the address is in it.
pub fn around(address: std::net::Ipv4Addr, lab: Option<Subnet>) -> Subnet {
    lab.filter(|subnet| subnet.holds(address)).unwrap_or_else(|| {
        let base = u32::from(address) & (u32::MAX << (32 - PREFIX));
        Subnet { base: base.into(), prefix: PREFIX }
    })
}

/// The network of the host's own into which a machine without `address` goes: that of a machine beside it that has one, its
/// environment's master before all others. `None`: there is none. The host knows one such network for each lab.
pub fn beside<'a>(node: &Node, all: impl Iterator<Item = &'a Node>, lab: Option<Subnet>) -> Option<Subnet> {
    let together = |other: &&Node| {
        other.provider == Provider::Vagrant
            && other.vm.bridge.is_none()
            && (&other.vm.host, other.vm.hypervisor) == (&node.vm.host, node.vm.hypervisor)
    };
    let written = |other: &'a Node| Some((other, other.address?.full()?));
    let first = |(other, _): &(&'a Node, _)| {
        (other.environment != node.environment, other.role != Role::Master, other.name.clone())
    };
    all.filter(together).filter_map(written).min_by_key(first).map(|(_, address)| around(address, lab))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_the_labs_or_a_small_one() {
        let lab = Subnet { base: [192, 168, 56, 0].into(), prefix: 22 };
        assert_eq!(around([192, 168, 57, 10].into(), Some(lab)), lab);
        let small = Subnet { base: [192, 168, 61, 0].into(), prefix: 24 };
        assert_eq!(around([192, 168, 61, 10].into(), Some(lab)), small);
    }
}
