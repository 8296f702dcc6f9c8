//! What it takes until a machine runs nodes as virtual machines.

use lap_base::error::{Error, Kind, Result};

use crate::{
    config::model::Hypervisor,
    drivers::{host, node::machine::MachineProbe},
};

/// Debian's names, for both hypervisors and for libvirt.
const VAGRANT: [&str; 3] = ["iproute2", "openssh-client", "vagrant"];
const LIBVIRT: [&str; 8] = [
    "dnsmasq-base",
    "iptables",
    "libvirt-clients",
    "libvirt-daemon-system",
    // Without it only root may use libvirt.
    "polkitd",
    "qemu-system-x86",
    "qemu-utils",
    "vagrant-libvirt",
];

/// The packages for a hypervisor. VirtualBox itself is none of Debian's.
pub fn packages(hypervisor: Hypervisor) -> Vec<&'static str> {
    let mut out = VAGRANT.to_vec();
    if hypervisor == Hypervisor::Libvirt {
        out.extend(LIBVIRT);
    }
    out.sort_unstable();
    out
}

/// What would be done to a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Install {
    /// Debian's names.
    pub packages: Vec<&'static str>,
    /// Who uses it is to be let in, or files are not as they should be.
    pub settings: bool,
    /// A sentence each: what is done, and what somebody should know.
    pub steps: Vec<String>,
    pub notes: Vec<String>,
}

impl Install {
    /// The machine is as it should be.
    pub fn nothing(&self) -> bool {
        self.packages.is_empty() && !self.settings
    }
}

/// Plans it. `sum` is `sha256sum`'s.
///
/// # Errors
/// Every reason why this machine cannot be a host, at once.
pub fn install(hypervisor: Hypervisor, look: &MachineProbe, sum: impl Fn(&str) -> String) -> Result<Install> {
    let wrong = wrong(look);
    if !wrong.is_empty() {
        let all = if wrong.len() == 1 { wrong[0].clone() } else { format!("\n  {}", wrong.join("\n  ")) };
        return Err(
            Error::new(Kind::Refused, format!("the machine cannot run nodes: {all}")).hint("nothing was changed on it")
        );
    }
    let there = |package: &&str| look.packages.iter().any(|is| is == package);
    let (mut out, user) = (Install::default(), look.get("user"));
    out.packages = packages(hypervisor).into_iter().filter(|package| !there(package)).collect();
    if !out.packages.is_empty() {
        out.steps.push(format!("install {} (apt-get)", out.packages.join(", ")));
    }
    let installed = out.steps.len();
    if hypervisor == Hypervisor::Libvirt && user != "root" && look.get("group") != "yes" {
        out.steps.push(format!("allow `{user}` to use libvirt (group `libvirt`)"));
    }
    if look.get("home").is_empty() {
        out.steps.push(format!("make /var/lib/lap, the directory of the machines, for `{user}`"));
    }
    let same = |file: &str, text: &str| look.get(&format!("sum-{file}")) == sum(text);
    if !same("start-nodes", host::START_TEXT) || !same("lap-nodes.service", host::UNIT_TEXT) {
        out.steps.push(format!("write {} and {}, which start nodes after a boot", host::START, host::UNIT));
    }
    if look.get("systemd") == "yes" {
        if look.get("enabled") != "yes" {
            out.steps.push("enable lap-nodes.service, so that systemd runs it at each boot".into());
        }
        if hypervisor == Hypervisor::Libvirt && look.get("libvirt") != "yes" {
            out.steps.push("start libvirt (libvirtd.service)".into());
        }
    } else {
        out.notes.push("there is no systemd: after a boot, start libvirtd by hand, and the nodes with `lap up`".into());
    }
    out.settings = out.steps.len() > installed;
    if hypervisor == Hypervisor::Virtualbox && look.get("virtualbox") != "yes" {
        out.notes.push("Debian has no package of VirtualBox: install 6.1 or newer yourself".into());
    }
    if look.get("able") != "yes" {
        let text = "hardware virtualisation is off or not available (the firmware's settings switch it on): machines are emulated";
        out.notes.push(text.into());
    }
    Ok(out)
}

fn wrong(look: &MachineProbe) -> Vec<String> {
    let mut out = Vec::new();
    let family = |name: &str| look.get("id") == name || look.get("like").split_whitespace().any(|like| like == name);
    if !family("debian") && !family("ubuntu") {
        out.push(format!("it runs `{}`, and lap can install packages only on Debian and Ubuntu", look.get("id")));
    }
    if look.get("arch") != "x86_64" {
        out.push(format!("its architecture is `{}`, and lap makes boxes only for x86_64", look.get("arch")));
    }
    if look.as_root().is_none() {
        out.push(format!("the user `{}` is not root there, and has no `sudo` without a password", look.get("user")));
    }
    let (home, user) = (look.get("home"), look.get("user"));
    if !home.is_empty() && look.get("writable") != "yes" {
        out.push(format!("/var/lib/lap belongs to `{home}`: log in as `{home}`, not as `{user}`"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str = "id ubuntu\nlike debian\narch x86_64\nuser anna\nroot sudo\nsystemd yes\n";

    /// Instead of a hash, what it is of.
    fn sum(text: &str) -> String {
        text.len().to_string()
    }

    #[test]
    fn a_bare_machine_gets_everything() {
        let plan = install(Hypervisor::Libvirt, &MachineProbe::parse(BARE), sum).unwrap();
        assert_eq!(
            plan.steps,
            [
                "install dnsmasq-base, iproute2, iptables, libvirt-clients, libvirt-daemon-system, openssh-client, \
                 polkitd, qemu-system-x86, qemu-utils, vagrant, vagrant-libvirt (apt-get)",
                "allow `anna` to use libvirt (group `libvirt`)",
                "make /var/lib/lap, the directory of the machines, for `anna`",
                "write /usr/local/lib/lap/start-nodes and /etc/systemd/system/lap-nodes.service, which start nodes after a boot",
                "enable lap-nodes.service, so that systemd runs it at each boot",
                "start libvirt (libvirtd.service)",
            ]
        );
        assert_eq!(plan.notes.len(), 1, "{plan:?}");
        let plan = install(Hypervisor::Virtualbox, &MachineProbe::parse(BARE), sum).unwrap();
        assert_eq!(plan.packages, ["iproute2", "openssh-client", "vagrant"]);
        assert!(plan.notes[0].starts_with("Debian has no package of VirtualBox"), "{plan:?}");
    }

    #[test]
    fn a_host_gets_nothing() {
        let packages: String = packages(Hypervisor::Libvirt).iter().map(|name| format!("package {name}\n")).collect();
        let done = format!(
            "{BARE}{packages}group yes\nhome anna\nwritable yes\nenabled yes\nlibvirt yes\nable yes\n\
             sum-start-nodes {}\nsum-lap-nodes.service {}\n",
            sum(host::START_TEXT),
            sum(host::UNIT_TEXT)
        );
        let plan = install(Hypervisor::Libvirt, &MachineProbe::parse(&done), sum).unwrap();
        assert!(plan.nothing() && plan.notes.is_empty(), "{plan:?}");
        // A newer lap brings a newer unit.
        let older = done.replace("sum-lap-nodes.service ", "sum-lap-nodes.service 9");
        let plan = install(Hypervisor::Libvirt, &MachineProbe::parse(&older), sum).unwrap();
        assert_eq!((plan.steps.len(), plan.settings, plan.packages.len()), (1, true, 0), "{plan:?}");
    }

    #[test]
    fn every_reason_is_said_at_once() {
        let look = MachineProbe::parse("id fedora\narch aarch64\nuser anna\nroot no\nhome root\n");
        let error = install(Hypervisor::Libvirt, &look, sum).unwrap_err();
        for part in [
            "it runs `fedora`",
            "its architecture is `aarch64`",
            "is not root there, and has no `sudo`",
            "belongs to `root`: log in as `root`",
        ] {
            assert!(error.message.contains(part), "{part}: {error}");
        }
    }
}
