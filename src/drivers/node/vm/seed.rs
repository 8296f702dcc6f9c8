//! A machine's seed: an archive in the place of a CD, taken in at its boot (`boxes/seed.sh`). With it a machine knows who it
//! is, and we know its host key, before it was ever started.

use std::net::Ipv4Addr;

use sha2::{Digest, Sha256};

use super::Spec;
use crate::{
    agent::{
        install::pack,
        paths,
        prepare::{DOCKER_SETTINGS, Order, config_text, docker_settings_text},
    },
    config::model::Hypervisor,
    error::Result,
};

/// What a CD's sectors and an archive's records have in common.
const UNIT: usize = 10 * 2048;

/// The archive. `vagrant`: the public key of a Vagrant that does not have the `admin` key. Its first member says which it is, so that one that was taken in is known without reading all of it.
///
/// # Errors
/// Never: it is made in memory.
pub fn archive(spec: &Spec, order: &Order, vagrant: Option<&str>, binary: &[u8]) -> Result<Vec<u8>> {
    let config = config_text(&order.config)?;
    let settings = docker_settings_text(&order.config);
    let host = format!("{}\n", spec.node);
    // As Debian has it where no address stays.
    let own = spec.address.unwrap_or(Ipv4Addr::new(127, 0, 1, 1));
    let hosts = format!("127.0.0.1 localhost\n{own} {}\n::1 localhost\n", spec.node);
    let resolve = resolve(spec, order);
    let network = network(spec);
    let relative = |path: &'static str| path.trim_start_matches('/');
    let files = [
        ("etc/hostname", 0o644, host.as_bytes()),
        ("etc/hosts", 0o644, hosts.as_bytes()),
        ("etc/resolv.conf", 0o644, resolve.as_bytes()),
        ("etc/systemd/network/10-lap.network", 0o644, network.as_bytes()),
        (relative(DOCKER_SETTINGS), 0o644, settings.as_bytes()),
        (relative(paths::CONFIG), 0o600, config.as_slice()),
        ("var/lib/lap/ssh/host_ed25519_key", 0o600, order.host_key.expose().as_bytes()),
        ("var/lib/lap/ssh/authorized_keys", 0o600, order.authorized_keys.as_bytes()),
        ("var/lib/lap/ssh/vagrant_keys", 0o600, vagrant.unwrap_or_default().as_bytes()),
        (relative(paths::BINARY), 0o755, binary),
    ];
    let id = hex::encode(&Sha256::digest(pack(files)?)[..16]);
    let mut out = pack(std::iter::once(("lap-seed", 0o644, id.as_bytes())).chain(files))?;
    out.resize(out.len().next_multiple_of(UNIT), 0);
    Ok(out)
}

/// Whom the machine itself asks for names.
fn resolve(spec: &Spec, order: &Order) -> String {
    let mut servers = order.config.upstreams.clone();
    if servers.is_empty() && spec.hypervisor == Hypervisor::Libvirt && spec.bridge.is_none() {
        servers.extend(spec.network().map(|network| network.router().to_string()));
    }
    servers.iter().map(|server| format!("nameserver {server}\n")).collect()
}

/// systemd.network(5). The card through which the machine reaches the world gets its address from its hypervisor, which
/// under libvirt is the right one; any other card has the address of node.toml.
fn network(spec: &Spec) -> String {
    if spec.hypervisor == Hypervisor::Libvirt && spec.bridge.is_none() {
        return format!("[Match]\nMACAddress={}\n\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n", spec.mac(0));
    }
    let address = spec.address.map(|address| format!("Address={address}/{}\n", spec.prefix)).unwrap_or_default();
    format!("[Match]\nMACAddress={}\n\n[Network]\n{address}LinkLocalAddressing=no\n", spec.mac(1))
}

#[cfg(test)]
mod tests {
    use super::{super::tests::spec, *};
    use crate::agent::protocol::NodeConfig;

    fn order() -> Order {
        Order {
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
            host_key: crate::keys::Secret::new("key".into()),
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
        assert!(network(&spec(Hypervisor::Libvirt)).contains("DHCP=ipv4"));
        let two = network(&spec(Hypervisor::Virtualbox));
        assert!(two.contains("Address=192.168.57.10/24") && two.contains("MACAddress=08:00:27:"), "{two}");
        assert_eq!(resolve(&spec(Hypervisor::Libvirt), &order()), "nameserver 192.168.57.1\n");
    }
}
