//! The `vagrant` provider: a virtual machine of libvirt or VirtualBox, of this machine's or another host's. Vagrant is asked only
//! when a machine's state must change; what it has to know is written down for it. Its own state lies on its host, not in the
//! workspace.

pub mod foreign;
pub mod known;
pub mod libvirt;
pub mod machine;
pub mod seed;
pub mod vagrantfile;
pub mod virtualbox;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::docker::NodeState;
use crate::{
    config::model::{ForeignBox, Hypervisor, Node, Subnet},
    drivers::{
        boxes,
        site::{Input, Site},
    },
    error::{Error, Kind, Result},
};

/// Where the machines' things lie on their host: `<lab>/<node>`.
pub const HOME: &str = "/var/lib/lap";

/// Everything a virtual machine is made from. Kept beside it, to see what a changed wish takes.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Spec {
    pub lab: String,
    pub node: String,
    /// The host it is made on; `None`: this machine. Not kept: what is asked about a machine is asked there.
    #[serde(skip)]
    pub host: Option<String>,
    pub hypervisor: Hypervisor,
    /// The box's identity.
    pub base: String,
    /// The box, where it is not lap's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign: Option<ForeignBox>,
    /// `None`: the office's DHCP gives it one; or who takes it away does not need to know.
    pub address: Option<Ipv4Addr>,
    /// Of the network the address is in.
    pub prefix: u8,
    /// A bridge of its host; `None`: a network of its host's own.
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

    /// Where it is made.
    pub fn site(&self) -> Site {
        Site::of(self.host.as_deref())
    }

    /// Where its things lie on its host.
    pub fn dir(&self) -> PathBuf {
        dir(&self.lab, &self.node)
    }

    /// What the machine calls its data disk.
    pub fn device(&self) -> &'static str {
        device(self.hypervisor)
    }

    /// The network its address is in. The router there is the host itself, unless that is the office's.
    pub fn network(&self) -> Option<Subnet> {
        let base = u32::from(self.address?) & !(u32::MAX >> self.prefix);
        Some(Subnet { base: base.into(), prefix: self.prefix })
    }

    /// The address of its network card `n`: always the same, so that its address is known before it is made.
    pub fn mac(&self, n: u8) -> String {
        mac(self.hypervisor, &self.lab, &self.node, n)
    }
}

/// The address of network card `n` of a machine.
fn mac(hypervisor: Hypervisor, lab: &str, node: &str, n: u8) -> String {
    let hash = Sha256::digest(format!("{lab}/{node}/{n}"));
    let maker = match hypervisor {
        Hypervisor::Libvirt => "52:54:00",
        Hypervisor::Virtualbox => "08:00:27",
    };
    format!("{maker}:{:02x}:{:02x}:{:02x}", hash[0], hash[1], hash[2])
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

/// Where a machine's things lie on its host.
pub fn dir(lab: &str, node: &str) -> PathBuf {
    Path::new(HOME).join(lab).join(node)
}

/// What there is for virtual machines, on all hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Identities of the boxes that Vagrant has, with their host.
    pub boxes: BTreeSet<(Option<String>, String)>,
    /// The same, of another architecture.
    pub elsewhere: BTreeSet<(Option<String>, String)>,
    /// Nodes with a data disk, or with anything else that lies on their host.
    pub disks: BTreeSet<String>,
    /// Nodes whose host does not answer, and what it said: nothing is known about them.
    pub silent: BTreeMap<String, (String, Vec<String>)>,
}

impl Facts {
    /// Whether there is the box a machine is made from.
    pub fn has_box(&self, spec: &Spec) -> bool {
        self.boxes.contains(&(spec.host.clone(), spec.base.clone()))
    }

    /// Whether all there is of the box is for another architecture.
    pub fn other_arch(&self, spec: &Spec) -> bool {
        !self.has_box(spec) && self.elsewhere.contains(&(spec.host.clone(), spec.base.clone()))
    }

    /// Nothing may be decided about a machine of which nothing is known.
    ///
    /// # Errors
    /// The host of one of these nodes does not answer.
    pub fn known<'a>(&self, nodes: impl IntoIterator<Item = &'a String>) -> Result<()> {
        match nodes.into_iter().find_map(|node| self.silent.get(node)) {
            Some((why, hints)) => {
                let error = Error { hints: hints.clone(), ..Error::new(Kind::Host, why.clone()) };
                Err(error.hint("nothing was changed"))
            }
            None => Ok(()),
        }
    }
}

/// Looks at a lab's machines of this hypervisor. Asks the hypervisor, not Vagrant.
///
/// # Errors
/// It is not installed, or does not answer.
pub async fn observe(
    site: &Site,
    hypervisor: Hypervisor,
    lab: &str,
    nodes: &[&Node],
    facts: &mut Facts,
) -> Result<Vec<(String, NodeState)>> {
    // Asked at the same time: on another host each question takes a while.
    let machines = async {
        match hypervisor {
            Hypervisor::Libvirt => libvirt::list(site, lab).await,
            Hypervisor::Virtualbox => virtualbox::list(site, lab).await,
        }
    };
    let ((domains, disks), boxes, made) =
        tokio::try_join!(machines, known::known(site, hypervisor), machine::specs(site, lab))?;
    facts.disks.extend(disks.into_iter().chain(made.keys().cloned()));
    let here = |identity: String| (site.host().map(str::to_owned), identity);
    for known in &boxes {
        let usable = known.is_for(std::env::consts::ARCH);
        let into = if usable { &mut facts.boxes } else { &mut facts.elsewhere };
        into.extend(known.identities().map(here));
    }
    let state = async |node: &&Node| {
        let (_, state) = domains.iter().find(|(name, _)| *name == domain(lab, &node.name))?;
        let spec = made.get(&node.name).cloned().unwrap_or_default();
        let running = state == "running";
        // What lap chose was written down when the machine was made.
        let chosen = || serde_json::from_str::<Spec>(&spec).ok()?.address;
        let address = match node.is_leased() {
            true if running => leased(site, lab, node).await.ok().flatten(),
            true => None,
            false => node.address.and_then(|address| address.full()).or_else(chosen),
        };
        Some((node.name.clone(), NodeState { running, state: state.clone(), spec, address, created: 0 }))
    };
    Ok(join_all(nodes.iter().map(state)).await.into_iter().flatten().collect())
}

/// The address that the office's DHCP gave a machine, as that says itself; `None`: none yet. It is told apart from others by its host
/// key, so that nothing is gained by saying another's.
///
/// # Errors
/// It does not say anything.
pub async fn leased(site: &Site, lab: &str, node: &Node) -> Result<Option<Ipv4Addr>> {
    let card = mac(node.vm.hypervisor, lab, &node.name, 1);
    libvirt::address(site, &domain(lab, &node.name), &card).await
}

/// Whether a host's processor runs machines by itself; else they are emulated, many times slower.
///
/// # Errors
/// The host is not reached.
pub async fn accelerated(site: &Site) -> Result<bool> {
    let out = site.script("read the processor's features", ACCELERATED, &[], Input::Bytes(&[])).await?;
    Ok(out.starts_with(b"yes"))
}

const ACCELERATED: &str = "! grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo || [ ! -e /dev/kvm ] || echo yes";

/// The box's name for Vagrant.
pub fn box_name(spec: &Spec) -> String {
    spec.foreign.as_ref().map_or_else(|| boxes::name(&spec.base), |foreign| foreign.name.clone())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A machine as tests wish for it.
    pub fn spec(hypervisor: Hypervisor) -> Spec {
        Spec {
            lab: "office".into(),
            node: "prod".into(),
            host: None,
            hypervisor,
            base: "0123456789abcdef".into(),
            foreign: None,
            address: Some(Ipv4Addr::new(192, 168, 57, 10)),
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
        assert_eq!(spec.domain(), "lap-office-prod");
        assert_eq!(spec.network().unwrap().router(), Ipv4Addr::new(192, 168, 57, 1));
        assert_eq!(spec.mac(0), "52:54:00:c3:2f:f9");
        assert_ne!(spec.mac(0), spec.mac(1));
    }
}
