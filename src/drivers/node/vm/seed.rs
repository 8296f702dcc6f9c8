//! A machine's seed: an archive in the place of a CD, taken in at its boot (`boxes/seed.sh`). With it a machine knows who it
//! is, and we know its host key, before it was ever started.

use std::net::Ipv4Addr;

use lap_base::{archive::pack, error::Result};
use sha2::{Digest, Sha256};

use super::spec::VmSpec;
use crate::{
    config::model::Hypervisor,
    wire::{
        machine::{DOCKER_SETTINGS, NodeSetup, config_text, docker_settings_text},
        paths,
    },
};

/// What a CD's sectors and an archive's records have in common.
const UNIT: usize = 10 * 2048;

/// The archive. `vagrant`: the public key of a Vagrant that does not have the `admin` key. Its first member says which it is, so that one that was taken in is known without reading all of it.
///
/// # Errors
/// Never: it is made in memory.
pub fn archive(spec: &VmSpec, order: &NodeSetup, vagrant: Option<&str>, binary: &[u8]) -> Result<Vec<u8>> {
    let config = config_text(&order.config)?;
    let settings = docker_settings_text(&order.config);
    let host = format!("{}\n", spec.node);
    // As Debian has it where no address stays.
    let own = spec.address.unwrap_or(Ipv4Addr::new(127, 0, 1, 1));
    let hosts = format!("127.0.0.1 localhost\n{own} {}\n::1 localhost\n", spec.node);
    let resolve = resolve(spec, order);
    let networks = networks(spec);
    let relative = |path: &'static str| path.trim_start_matches('/');
    let files = [
        ("etc/hostname", 0o644, host.as_bytes()),
        ("etc/hosts", 0o644, hosts.as_bytes()),
        ("etc/resolv.conf", 0o644, resolve.as_bytes()),
        (relative(DOCKER_SETTINGS), 0o644, settings.as_bytes()),
        (relative(paths::CONFIG), 0o600, config.as_slice()),
        ("var/lib/lap/ssh/host_ed25519_key", 0o600, order.host_key.expose().as_bytes()),
        ("var/lib/lap/ssh/authorized_keys", 0o600, order.authorized_keys.as_bytes()),
        ("var/lib/lap/ssh/vagrant_keys", 0o600, vagrant.unwrap_or_default().as_bytes()),
        (relative(paths::BINARY), 0o755, binary),
    ];
    let networks = networks.iter().map(|(path, text)| (*path, 0o644, text.as_bytes()));
    let files: Vec<_> = files.into_iter().chain(networks).collect();
    let id = hex::encode(&Sha256::digest(pack(files.iter().copied())?)[..16]);
    let mut out = pack(std::iter::once(("lap-seed", 0o644, id.as_bytes())).chain(files))?;
    out.resize(out.len().next_multiple_of(UNIT), 0);
    Ok(out)
}

/// Whom the machine itself asks for names.
fn resolve(spec: &VmSpec, order: &NodeSetup) -> String {
    let mut servers = order.config.upstreams.clone();
    if servers.is_empty() && spec.hypervisor == Hypervisor::Libvirt && spec.bridge.is_none() {
        servers.extend(spec.network().map(|network| network.router().to_string()));
    }
    servers.iter().map(|server| format!("nameserver {server}\n")).collect()
}

/// systemd.network(5), a file a card. The first one, through which the machine reaches the world, gets its address from its hypervisor:
/// under libvirt the right one, where there is no bridge; VirtualBox' card has a number of its own and is any card's business. The second
/// one has the address at which others reach the machine.
fn networks(spec: &VmSpec) -> Vec<(&'static str, String)> {
    let libvirt = spec.hypervisor == Hypervisor::Libvirt;
    let first = libvirt.then(|| ("etc/systemd/network/10-lap.network", asks(&spec.mac(0))));
    let second = (!libvirt || spec.bridge.is_some()).then(|| {
        let how = match spec.address {
            Some(address) => format!("Address={address}/{}\nLinkLocalAddressing=no\n", spec.prefix),
            None => LEASED.to_owned(),
        };
        let text = format!("[Match]\nMACAddress={}\n\n[Network]\n{how}", spec.mac(1));
        ("etc/systemd/network/20-lap.network", text)
    });
    first.into_iter().chain(second).collect()
}

/// A card whose address its hypervisor gives. That knows it by the card: machines of one box may say the same of themselves else, and get
/// one address together. What it is called it knows already.
fn asks(mac: &str) -> String {
    format!(
        "[Match]\nMACAddress={mac}\n\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n\n\
         [DHCPv4]\nClientIdentifier=mac\nUseHostname=no\n"
    )
}

/// The office's DHCP knows the machine by its card, also when it is made anew. Only the address is taken from it: the way into the world
/// and the servers for names are what they are with a fixed one.
const LEASED: &str = "\
DHCP=ipv4
LinkLocalAddressing=no

[DHCPv4]
ClientIdentifier=mac
RouteMetric=2048
UseGateway=no
UseDNS=no
UseDomains=no
UseHostname=no
";

#[cfg(test)]
mod tests {
    use super::{super::tests::spec, *};
    use crate::{drivers::node::vm::spec::VmSpec, wire::protocol::NodeConfig};

    fn order() -> NodeSetup {
        NodeSetup {
            config: NodeConfig {
                lab: "office".into(),
                node: "prod".into(),
                environment: "prod".into(),
                address: "192.168.57.10".into(),
                disk: 1,
                upstreams: Vec::new(),
                sshd: None,
                device: Some("/dev/disk/by-id/virtio-lap-data".into()),
                filesystem: None,
            },
            host_key: lap_base::secret::Secret::new("key".into()),
            authorized_keys: "admin".into(),
        }
    }

    #[test]
    fn its_first_member_says_which_it_is() {
        let archive = |binary: &[u8]| super::archive(&spec(Hypervisor::Libvirt), &order(), None, binary).unwrap();
        let one = archive(b"one");
        assert_eq!(one, archive(b"one"));
        assert_eq!(one.len() % UNIT, 0);
        assert!(one.starts_with(b"lap-seed\0"));
        assert_ne!(one[512..544], archive(b"two")[512..544]);
    }

    #[test]
    fn the_address_is_where_others_reach_it() {
        let texts = |spec: &VmSpec| networks(spec).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        let [one] = &texts(&spec(Hypervisor::Libvirt))[..] else { panic!("it has one card") };
        assert!(
            one.contains("DHCP=ipv4") && one.ends_with("[DHCPv4]\nClientIdentifier=mac\nUseHostname=no\n"),
            "{one}"
        );
        let [two] = &texts(&spec(Hypervisor::Virtualbox))[..] else { panic!("one card is any card") };
        assert!(two.contains("Address=192.168.57.10/24") && two.contains("MACAddress=08:00:27:"), "{two}");
        assert_eq!(resolve(&spec(Hypervisor::Libvirt), &order()), "nameserver 192.168.57.1\n");
        let leased = VmSpec { address: None, bridge: Some("br0".into()), ..spec(Hypervisor::Libvirt) };
        let [first, text] = &texts(&leased)[..] else { panic!("it has two cards") };
        assert_eq!(*first, asks(&leased.mac(0)));
        assert!(
            text.starts_with(&format!("[Match]\nMACAddress={}\n\n[Network]\nDHCP=ipv4\n", leased.mac(1))),
            "{text}"
        );
    }
}
