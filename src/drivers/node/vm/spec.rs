//! What a virtual machine is made from, and what its things are called.

use sha2::Digest;
use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use lap_base::error::Result;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::{
    config::model::{ForeignBox, Hypervisor, Subnet},
    drivers::{
        boxes,
        site::{Input, Site},
    },
};

/// Where the machines' things lie on their host: `<lab>/<node>`.
pub const HOME: &str = "/var/lib/lap";

/// Everything a virtual machine is made from. Kept beside it, to see what a changed desired state takes.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct VmSpec {
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

impl VmSpec {
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
pub(super) fn mac(hypervisor: Hypervisor, lab: &str, node: &str, n: u8) -> String {
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

/// Whether a host's processor runs machines by itself; else they are emulated, many times slower.
///
/// # Errors
/// The host is not reached.
pub async fn accelerated(site: &Site) -> Result<bool> {
    let out = site.script("read the processor's features", ACCELERATED, &[], Input::Bytes(&[])).await?;
    Ok(out.starts_with(b"yes"))
}

pub(super) const ACCELERATED: &str =
    "! grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo || [ ! -e /dev/kvm ] || echo yes";

/// The box's name for Vagrant.
pub fn box_name(spec: &VmSpec) -> String {
    spec.foreign.as_ref().map_or_else(|| boxes::name(&spec.base), |foreign| foreign.name.clone())
}

/// So long a machine may take until it can be logged in to. Emulated, everything takes ten times as long.
pub(super) const BOOT: Duration = Duration::from_secs(180);

pub(super) const BOOT_EMULATED: Duration = Duration::from_secs(600);

/// How long a machine may take until it answers, on a processor that helps or not.
pub fn boot(accelerated: bool) -> Duration {
    if accelerated { BOOT } else { BOOT_EMULATED }
}
