//! Virtual machines: what they are made from, and what a changed desired state takes.

use std::{collections::BTreeMap, net::Ipv4Addr};

use lap_base::words::bytes;

use crate::{
    config::{
        model::{Lab, Node, Provider},
        network,
    },
    drivers::{boxes, node::vm::spec::VmSpec},
};

/// What a virtual machine has where its node.toml says nothing.
const CPUS: u32 = 2;
const MEMORY: u64 = 4 << 30;

/// What a node's machine is to be; `None`: it is no virtual machine.
pub fn spec(lab: &Lab, node: &Node, addresses: &BTreeMap<String, Ipv4Addr>) -> Option<VmSpec> {
    if node.provider != Provider::Vagrant {
        return None;
    }
    let address = addresses.get(&node.name).copied().filter(|_| !node.is_leased());
    let prefix = address.map_or(network::PREFIX, |address| network::around(address, lab.subnet).prefix);
    Some(VmSpec {
        lab: lab.name.clone(),
        node: node.name.clone(),
        host: node.vm.host.clone(),
        hypervisor: node.vm.hypervisor,
        base: match &node.vm.foreign {
            Some(foreign) => foreign.to_string(),
            None => boxes::identity(&lab.rootfs, node.vm.hypervisor),
        },
        foreign: node.vm.foreign.clone(),
        address,
        prefix,
        bridge: node.vm.bridge.clone(),
        cpus: node.cpus.map_or(CPUS, |cpus| cpus.ceil() as u32),
        memory: node.memory.unwrap_or(MEMORY),
        disk: node.disk,
    })
}

/// What it takes until a machine is as it should be, with the reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MachineChange {
    None,
    Restart(String),
    /// Its data disk stays.
    Rebuild(String),
    Impossible(String),
}

/// Compares a machine with the desired state.
pub fn change(is: Option<&VmSpec>, desired: &VmSpec) -> MachineChange {
    let Some(is) = is else { return MachineChange::Rebuild("it is incomplete".into()) };
    if desired.disk < is.disk {
        return MachineChange::Impossible(format!(
            "`disk` of `{}` cannot become smaller: it has {}, and node.toml says {}",
            desired.node,
            bytes(is.disk),
            bytes(desired.disk)
        ));
    }
    let mut rebuild = Vec::new();
    if is.hypervisor != desired.hypervisor {
        return MachineChange::Impossible(format!(
            "the machine `{}` and its data are on {}: run `lap destroy` first, or move the data in a snapshot",
            desired.node,
            is.hypervisor.name()
        ));
    }
    if is.base != desired.base {
        rebuild.push("its box changed".to_owned());
    }
    // Vagrant sets the second card of a box of others once, when it makes the machine.
    let moved = desired.foreign.is_some() && desired.bridge.is_some() && is.address != desired.address;
    let resized = is.prefix != desired.prefix && is.address.is_some() && desired.address.is_some();
    if is.bridge != desired.bridge || resized || moved {
        rebuild.push("its network changed".to_owned());
    }
    if !rebuild.is_empty() {
        return MachineChange::Rebuild(rebuild.join(", "));
    }
    let mut restart = Vec::new();
    if is.address != desired.address {
        let shown = |spec: &VmSpec| spec.address.map_or_else(|| "from DHCP".to_owned(), |address| address.to_string());
        restart.push(format!("address {} → {}", shown(is), shown(desired)));
    }
    if is.cpus != desired.cpus {
        restart.push(format!("cpus {} → {}", is.cpus, desired.cpus));
    }
    for (what, is, desired) in [("memory", is.memory, desired.memory), ("disk", is.disk, desired.disk)] {
        if is != desired {
            restart.push(format!("{what} {} → {}", bytes(is), bytes(desired)));
        }
    }
    if restart.is_empty() { MachineChange::None } else { MachineChange::Restart(restart.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::model::Hypervisor, drivers::node::vm::spec::VmSpec};

    fn machine() -> VmSpec {
        VmSpec {
            lab: "office".into(),
            node: "prod".into(),
            host: None,
            hypervisor: Hypervisor::Libvirt,
            base: "b1".into(),
            foreign: None,
            address: "192.168.57.10".parse().ok(),
            prefix: 24,
            bridge: None,
            cpus: 2,
            memory: 4 << 30,
            disk: 20 << 30,
        }
    }

    #[test]
    fn a_change_says_what_it_takes() {
        let is = machine();
        let of = |desired: VmSpec| change(Some(&is), &desired);
        assert_eq!(of(machine()), MachineChange::None);
        assert_eq!(
            of(VmSpec { memory: 8 << 30, cpus: 4, disk: 40 << 30, ..machine() }),
            MachineChange::Restart("cpus 2 → 4, memory 4.0 GiB → 8.0 GiB, disk 20.0 GiB → 40.0 GiB".into())
        );
        assert_eq!(
            of(VmSpec { base: "b2".into(), cpus: 4, ..machine() }),
            MachineChange::Rebuild("its box changed".into()),
            "made anew it has the CPUs, too"
        );
        assert_eq!(
            of(VmSpec { bridge: Some("br0".into()), ..machine() }),
            MachineChange::Rebuild("its network changed".into())
        );
        assert!(matches!(of(VmSpec { disk: 10 << 30, ..machine() }), MachineChange::Impossible(_)));
        let foreign = crate::config::model::ForeignBox { name: "debian/bookworm64".into(), version: None };
        let foreign = VmSpec { base: foreign.to_string(), foreign: Some(foreign), ..machine() };
        assert_eq!(of(foreign.clone()), MachineChange::Rebuild("its box changed".into()));
        let elsewhere = |spec: &VmSpec| VmSpec { address: "192.168.57.11".parse().ok(), ..spec.clone() };
        assert!(matches!(change(Some(&foreign), &elsewhere(&foreign)), MachineChange::Restart(_)));
        let bridged = VmSpec { bridge: Some("br0".into()), ..foreign };
        assert_eq!(change(Some(&bridged), &elsewhere(&bridged)), MachineChange::Rebuild("its network changed".into()));
        // The office's DHCP, and back.
        let fixed = VmSpec { foreign: None, prefix: 22, ..bridged };
        let leased = VmSpec { address: None, prefix: 24, ..fixed.clone() };
        assert_eq!(change(Some(&fixed), &leased), MachineChange::Restart("address 192.168.57.10 → from DHCP".into()));
        assert_eq!(change(Some(&leased), &fixed), MachineChange::Restart("address from DHCP → 192.168.57.10".into()));
        assert!(matches!(of(VmSpec { hypervisor: Hypervisor::Virtualbox, ..machine() }), MachineChange::Impossible(_)));
        assert!(matches!(change(None, &machine()), MachineChange::Rebuild(_)));
    }
}
