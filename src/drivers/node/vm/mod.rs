//! The `vagrant` provider: a virtual machine of this machine's libvirt or VirtualBox. Vagrant is asked only when a machine's
//! state must change; what it has to know is written down for it. Its own state lies on this machine, not in the workspace.

pub mod libvirt;
pub mod machine;
pub mod seed;
pub mod vagrantfile;
pub mod virtualbox;

use std::{
    collections::BTreeSet,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::docker::NodeState;
use crate::{config::model::Hypervisor, drivers::boxes, error::Result};

/// Where the machines' things lie on this machine: `<lab>/<node>`.
pub const HOME: &str = "/var/lib/lap";

/// Everything a virtual machine is made from. Kept beside it, to see what a changed wish takes.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Spec {
    pub lab: String,
    pub node: String,
    pub hypervisor: Hypervisor,
    /// The box's identity.
    pub base: String,
    pub address: Ipv4Addr,
    /// Of the network the address is in.
    pub prefix: u8,
    /// A bridge of this machine; `None`: a network of this machine's own.
    pub bridge: Option<String>,
    pub cpus: u32,
    /// Bytes, as all sizes.
    pub memory: u64,
    pub disk: u64,
}

impl Spec {
    /// What its hypervisor calls the machine.
    pub fn domain(&self) -> String {
        domain(&self.lab, &self.node)
    }

    /// Where its things lie on this machine.
    pub fn dir(&self) -> PathBuf {
        dir(&self.lab, &self.node)
    }

    /// What the machine calls its data disk.
    pub fn device(&self) -> &'static str {
        device(self.hypervisor)
    }

    /// The first address of its network: this machine's own, where the network is.
    pub fn gateway(&self) -> Ipv4Addr {
        let mask = u32::MAX.checked_shl(u32::from(32 - self.prefix)).unwrap_or(0);
        Ipv4Addr::from((u32::from(self.address) & mask) + 1)
    }

    /// The address of its network card `n`: always the same, so that its address is known before it is made.
    pub fn mac(&self, n: u8) -> String {
        let hash = Sha256::digest(format!("{}/{}/{n}", self.lab, self.node));
        let maker = match self.hypervisor {
            Hypervisor::Libvirt => "52:54:00",
            Hypervisor::Virtualbox => "08:00:27",
        };
        format!("{maker}:{:02x}:{:02x}:{:02x}", hash[0], hash[1], hash[2])
    }
}

/// What a machine calls the disk that lap gave it for its data.
pub fn device(hypervisor: Hypervisor) -> &'static str {
    match hypervisor {
        Hypervisor::Libvirt => "/dev/disk/by-id/virtio-lap-data",
        Hypervisor::Virtualbox => "/dev/disk/by-id/ata-VBOX_HARDDISK_lap-data",
    }
}

/// What a hypervisor calls a machine.
pub fn domain(lab: &str, node: &str) -> String {
    format!("lap-{lab}-{node}")
}

/// Where a machine's things lie on this machine.
pub fn dir(lab: &str, node: &str) -> PathBuf {
    Path::new(HOME).join(lab).join(node)
}

/// What this machine has for virtual machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Identities of the boxes that Vagrant has.
    pub boxes: BTreeSet<String>,
    /// Nodes with a data disk.
    pub disks: BTreeSet<String>,
}

/// Looks at a lab's machines of this hypervisor. Asks the hypervisor, not Vagrant.
///
/// # Errors
/// It is not installed, or does not answer.
pub async fn observe(
    hypervisor: Hypervisor,
    lab: &str,
    nodes: &[(String, Ipv4Addr)],
    facts: &mut Facts,
) -> Result<Vec<(String, NodeState)>> {
    let (domains, disks) = match hypervisor {
        Hypervisor::Libvirt => libvirt::list(lab).await?,
        Hypervisor::Virtualbox => virtualbox::list(lab).await?,
    };
    facts.disks.extend(disks);
    facts.boxes.extend(known_boxes(hypervisor));
    let state = |(node, address): &(String, Ipv4Addr)| {
        let (_, state) = domains.iter().find(|(name, _)| *name == domain(lab, node))?;
        let spec = fs::read_to_string(dir(lab, node).join("made.json")).unwrap_or_default();
        let running = state == "running";
        Some((node.clone(), NodeState { running, state: state.clone(), spec, address: Some(*address), created: 0 }))
    };
    Ok(nodes.iter().filter_map(state).collect())
}

/// The boxes of lap that Vagrant has for this hypervisor: looked at, since asking it takes a second.
fn known_boxes(hypervisor: Hypervisor) -> Vec<String> {
    let Ok(entries) = fs::read_dir(vagrant_home().join("boxes")) else { return Vec::new() };
    let names = entries.flatten().filter(|entry| entry.path().join("0").join(hypervisor.name()).is_dir());
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| name.strip_prefix("lap-VAGRANTSLASH-").map(str::to_owned)).collect()
}

/// Where Vagrant keeps boxes and plugins: the person's own.
fn vagrant_home() -> PathBuf {
    let set = std::env::var_os("VAGRANT_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".vagrant.d");
    set.unwrap_or_else(home)
}

/// Whether this machine's processor runs machines by itself; else they are emulated, many times slower.
pub fn accelerated() -> bool {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let able = flags
        .lines()
        .filter(|line| line.starts_with("flags"))
        .any(|line| line.split_whitespace().any(|flag| matches!(flag, "vmx" | "svm")));
    able && Path::new("/dev/kvm").exists()
}

/// The box's name for Vagrant.
pub fn box_name(spec: &Spec) -> String {
    boxes::name(&spec.base)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A machine as tests wish for it.
    pub fn spec(hypervisor: Hypervisor) -> Spec {
        Spec {
            lab: "office".into(),
            node: "prod".into(),
            hypervisor,
            base: "0123456789abcdef".into(),
            address: Ipv4Addr::new(192, 168, 57, 10),
            prefix: 24,
            bridge: None,
            cpus: 2,
            memory: 4 << 30,
            disk: 20 << 30,
        }
    }

    #[test]
    fn what_a_machine_is_called_never_changes() {
        let spec = spec(Hypervisor::Libvirt);
        assert_eq!((spec.domain().as_str(), spec.gateway()), ("lap-office-prod", Ipv4Addr::new(192, 168, 57, 1)));
        assert_eq!(spec.mac(0), "52:54:00:c3:2f:f9");
        assert_ne!(spec.mac(0), spec.mac(1));
    }
}
