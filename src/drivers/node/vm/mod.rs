//! The `vagrant` provider: a virtual machine of libvirt or VirtualBox, of this machine's or another host's. Vagrant is asked only
//! when a machine's state must change; what it has to know is written down for it. Its own state lies on its host, not in the
//! workspace.

pub mod foreign;
pub mod known;
pub mod libvirt;
pub mod machine;
pub mod seed;
pub mod spec;
mod vagrant;
pub mod vagrantfile;
pub mod virtualbox;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use futures_util::future::join_all;
use lap_base::error::{Error, Kind, Result};

use self::spec::{VmSpec, domain, mac};
use super::state::NodeState;
use crate::{
    config::model::{Hypervisor, Node},
    drivers::site::Site,
};

/// What there is for virtual machines, on all hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmFacts {
    /// Identities of the boxes that Vagrant has, with their host.
    pub boxes: BTreeSet<(Option<String>, String)>,
    /// The same, of another architecture.
    pub elsewhere: BTreeSet<(Option<String>, String)>,
    /// Nodes with a data disk, or with anything else that lies on their host.
    pub disks: BTreeSet<String>,
    /// Nodes whose host does not answer, and what it said: nothing is known about them.
    pub silent: BTreeMap<String, (String, Vec<String>)>,
}

impl VmFacts {
    /// Whether there is the box a machine is made from.
    pub fn has_box(&self, spec: &VmSpec) -> bool {
        self.boxes.contains(&(spec.host.clone(), spec.base.clone()))
    }

    /// Whether all there is of the box is for another architecture.
    pub fn other_arch(&self, spec: &VmSpec) -> bool {
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
    facts: &mut VmFacts,
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
        let chosen = || serde_json::from_str::<VmSpec>(&spec).ok()?.address;
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

#[cfg(test)]
pub mod tests {
    use super::{spec::VmSpec, *};

    /// A machine as tests describe for it.
    pub fn spec(hypervisor: Hypervisor) -> VmSpec {
        VmSpec {
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
