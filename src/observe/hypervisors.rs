//! What could be wrong with a host for virtual machines, before the first is booted. Looking is apart from judging.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use lap_base::{
    error::{Error, Kind, Result},
    words::bytes,
};

use super::finding::{Finding, Verdict};
use crate::{
    config::model::{Hypervisor, Lab, Provider, Subnet},
    drivers::{
        node::{
            docker::HostFacts,
            vm::{VmFacts, spec::VmSpec},
        },
        site::{Input, Site},
    },
    plan::{self, Action, Plan},
};

/// The oldest that were read or tried: Debian 11's.
const VAGRANT: (u32, u32) = (2, 2);
const VIRTUALBOX: (u32, u32) = (6, 1);
/// The box, its copies, and a machine's root disk.
const ROOM: u64 = 5 << 30;
/// What VirtualBox allows where networks.conf(5) says nothing.
const HOST_ONLY: &str = "* 192.168.56.0/21";

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct HypervisorReport {
    pub arch: String,
    /// What they print when asked for their version; `None`: not there.
    pub vagrant: Option<String>,
    pub plugins: String,
    pub virtualbox: Option<String>,
    /// The processor can run machines by itself.
    pub able: bool,
    /// `/proc/modules`
    pub modules: String,
    pub interfaces: BTreeSet<String>,
    pub bridges: BTreeSet<String>,
    /// What goes across its bridges goes through its packet filter, and Docker is there, which lets through there only what is its own.
    pub filtered: bool,
    /// VirtualBox' networks.conf(5).
    pub networks: Option<String>,
    /// Addresses of machines that are not made yet, at which something answers.
    pub answering: BTreeSet<Ipv4Addr>,
    pub memory: u64,
    pub disk: u64,
}

/// Looks and judges, on each host that is desired. `environment`: only its nodes.
pub async fn examine(lab: &Lab, environment: Option<&str>, host: &HostFacts) -> Vec<Finding> {
    let meant = lab.nodes.values().filter(|node| environment.is_none_or(|name| node.environment == name));
    let mut hosts: BTreeMap<Option<String>, Vec<VmSpec>> = BTreeMap::new();
    let addresses = match plan::nodes::subnet(lab, host).and_then(|s| plan::addresses::addresses(lab, &s, host)) {
        Ok(addresses) => addresses,
        Err(error) => return vec![Finding { verdict: Verdict::Bad, text: error.to_string() }],
    };
    for desired in meant.filter_map(|node| plan::machines::spec(lab, node, &addresses)) {
        hosts.entry(desired.host.clone()).or_default().push(desired);
    }
    let known = host.nodes.iter().map(|(name, is)| (name.clone(), is.running)).collect();
    let mut out = Vec::new();
    for (name, specs) in hosts {
        let found = match probe_hypervisors(&Site::of(name.as_deref()), &specs, &known).await {
            Ok(report) => judge(&report, &specs, &known, &host.vm),
            Err(error) => vec![Finding { verdict: Verdict::Bad, text: error.to_string() }],
        };
        let prefix = name.map(|name| format!("`{name}`: ")).unwrap_or_default();
        out.extend(found.into_iter().map(|finding| Finding { text: format!("{prefix}{}", finding.text), ..finding }));
    }
    out
}

/// Whether the machines that are to be made can be made on their hosts. Not looked at when none is.
///
/// # Errors
/// Every reason why not.
pub async fn check(lab: &Lab, plan: &Plan, host: &HostFacts) -> Result<()> {
    let machine = |node: &str| lab.nodes.get(node).is_some_and(|node| node.provider == Provider::Vagrant);
    if !plan.steps.iter().any(|step| matches!(&step.action, Action::MakeNode { node, .. } if machine(node))) {
        return Ok(());
    }
    let found = examine(lab, Some(&plan.environment), host).await;
    let found = found.into_iter().filter(|finding| finding.verdict == Verdict::Bad);
    let found: Vec<String> = found.map(|finding| finding.text).collect();
    match found.as_slice() {
        [] => Ok(()),
        [one] => Err(Error::new(Kind::Host, one.clone()).hint("nothing was changed")),
        many => Err(Error::new(Kind::Host, many.join("\n")).hint("nothing was changed")),
    }
}

/// So many seconds somebody at an address may take to answer.
const PATIENCE: &str = "1";

/// Prints `key value` lines. `$1` is which hypervisors are desired, `$2` how many seconds may pass until somebody answers, the
/// others the addresses of machines that are not made yet. Where there is no such network yet, whoever answers is somewhere behind a router.
const PROBE: &str = r#"
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" LC_ALL=C
echo "arch $(uname -m)"
if is=$(vagrant --version 2>/dev/null); then echo "vagrant $is"; fi
case $1 in *libvirt*) vagrant plugin list 2>/dev/null | sed 's/^/plugin /' ;; esac
case $1 in *virtualbox*) if is=$(VBoxManage --version 2>/dev/null); then echo "virtualbox $is"; fi ;; esac
if grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo && [ -e /dev/kvm ]; then echo "able yes"; fi
sed 's/^/module /' /proc/modules 2>/dev/null
for path in /sys/class/net/*; do
    echo "interface ${path##*/}"
    if [ -d "$path/bridge" ]; then echo "bridge ${path##*/}"; fi
done
if [ -d /sys/class/net/docker0 ] && grep -q 1 /proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null; then echo "filtered yes"; fi
if [ -r /etc/vbox/networks.conf ]; then echo "ranges"; sed 's/^/range /' /etc/vbox/networks.conf; fi
echo "memory $(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)"
for path in /var/lib/lap /var/lib /; do
    if [ -d "$path" ]; then echo "disk $(df -Pk "$path" | awk 'END { print $4 }')"; break; fi
done
patience=$2
shift 2
for address; do
    case "$(ip -4 route get "$address" 2>/dev/null)" in ''|*' via '*) continue ;; esac
    {
        said=$(timeout "$patience" bash -c ': <"/dev/tcp/$1/22"' lap "$address" 2>&1) && echo "answering $address"
        case $said in *'Connection refused'*) echo "answering $address" ;; esac
    } &
done
wait"#;

/// Looks at a host.
///
/// # Errors
/// It is not reached.
pub async fn probe_hypervisors(
    site: &Site,
    specs: &[VmSpec],
    known: &BTreeMap<String, bool>,
) -> Result<HypervisorReport> {
    let hypervisors: BTreeSet<&str> = specs.iter().map(|desired| desired.hypervisor.name()).collect();
    let hypervisors = hypervisors.into_iter().collect::<Vec<_>>().join(" ");
    let new = specs.iter().filter(|desired| !known.contains_key(&desired.node));
    let new: Vec<String> = new.filter_map(|desired| Some(desired.address?.to_string())).collect();
    let arguments: Vec<&str> =
        [hypervisors.as_str(), PATIENCE].into_iter().chain(new.iter().map(String::as_str)).collect();
    let out = site.script("read the state of the hypervisors", PROBE, &arguments, Input::Bytes(&[])).await?;
    Ok(read(&String::from_utf8_lossy(&out)))
}

fn read(text: &str) -> HypervisorReport {
    let mut report = HypervisorReport::default();
    let lines = |into: &mut String, value: &str| into.extend([value, "\n"]);
    for line in text.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        let number = value.parse::<u64>().unwrap_or_default() << 10;
        match key {
            "arch" => value.clone_into(&mut report.arch),
            "vagrant" => report.vagrant = Some(value.to_owned()),
            "plugin" => lines(&mut report.plugins, value),
            "virtualbox" => report.virtualbox = Some(value.to_owned()),
            "able" => report.able = true,
            "module" => lines(&mut report.modules, value),
            "interface" => drop(report.interfaces.insert(value.to_owned())),
            "filtered" => report.filtered = true,
            "bridge" => drop(report.bridges.insert(value.to_owned())),
            "ranges" => report.networks = Some(String::new()),
            "range" => lines(report.networks.get_or_insert_default(), value),
            "memory" => report.memory = number,
            "disk" => report.disk = number,
            "answering" => report.answering.extend(value.parse::<Ipv4Addr>()),
            _ => {}
        }
    }
    report
}

/// Judges it. `known`: the machines there are, and whether they run.
pub fn judge(
    report: &HypervisorReport,
    specs: &[VmSpec],
    known: &BTreeMap<String, bool>,
    facts: &VmFacts,
) -> Vec<Finding> {
    let mut out = Vec::new();
    let mut say = |verdict, text: String| out.push(Finding { verdict, text });
    let used: BTreeSet<Hypervisor> = specs.iter().map(|desired| desired.hypervisor).collect();
    if report.arch != "x86_64" {
        say(
            Verdict::Bad,
            format!("the architecture of this machine is `{}`, and lap makes boxes only for x86_64", report.arch),
        );
    }
    match report.vagrant.as_deref().map(|text| (text, version(text))) {
        None => say(Verdict::Bad, "`vagrant` is missing: `sudo apt-get install vagrant`".into()),
        Some((_, Some(is))) if is >= VAGRANT => say(Verdict::Good, format!("Vagrant {}.{}", is.0, is.1)),
        Some((text, _)) => say(Verdict::Bad, format!("`{text}` is too old: {}.{} or newer", VAGRANT.0, VAGRANT.1)),
    }
    for hypervisor in used {
        match hypervisor {
            Hypervisor::Libvirt => libvirt(report, &mut say),
            Hypervisor::Virtualbox => virtualbox(report, &mut say),
        }
    }
    for desired in specs {
        network(report, desired, &mut say);
        if facts.other_arch(desired) {
            let text = "in Vagrant is for another architecture";
            say(
                Verdict::Bad,
                format!("node `{}`: the box `{}` {text} than `{}`", desired.node, desired.base, report.arch),
            );
        }
    }
    let asleep = specs.iter().filter(|desired| known.get(&desired.node) != Some(&true));
    let wanted: u64 = asleep.map(|desired| desired.memory).sum();
    if wanted > report.memory {
        let text = "of memory are needed by machines that do not run, and";
        say(Verdict::Bad, format!("{} {text} {} are available", bytes(wanted), bytes(report.memory)));
    }
    let new = specs.iter().any(|desired| !facts.has_box(desired) || !known.contains_key(&desired.node));
    if new && report.disk < ROOM {
        say(Verdict::Bad, format!("{} free in `/var/lib`: new machines need {}", bytes(report.disk), bytes(ROOM)));
    }
    out
}

fn libvirt(report: &HypervisorReport, say: &mut impl FnMut(Verdict, String)) {
    if report.vagrant.is_some() && !report.plugins.contains("vagrant-libvirt") {
        say(Verdict::Bad, "Vagrant has no `vagrant-libvirt`: `sudo apt-get install vagrant-libvirt`".into());
    }
    if report.able {
        return;
    }
    let text = "hardware virtualisation is off or not available (the firmware's settings switch it on): machines are emulated, \
                ten times slower";
    say(Verdict::Warn, text.into());
}

fn virtualbox(report: &HypervisorReport, say: &mut impl FnMut(Verdict, String)) {
    match report.virtualbox.as_deref().map(|text| (text, version(text))) {
        None => say(Verdict::Bad, "`VBoxManage` is missing: install VirtualBox 6.1 or newer".into()),
        Some((_, Some(is))) if is >= VIRTUALBOX => say(Verdict::Good, format!("VirtualBox {}.{}", is.0, is.1)),
        Some((text, _)) => say(Verdict::Bad, format!("VirtualBox {text} is too old: 6.1 or newer")),
    }
    if !report.able {
        say(
            Verdict::Bad,
            "hardware virtualisation is off or not available: the firmware's settings switch it on".into(),
        );
    }
    // Its users are the third column: machines that run.
    let taken = report.modules.lines().any(|line| {
        let mut words = line.split_whitespace();
        matches!(words.next(), Some("kvm_intel" | "kvm_amd")) && words.nth(1).is_some_and(|users| users != "0")
    });
    if taken {
        let text =
            "running KVM machines occupy the hardware virtualisation: stop them, or use `hypervisor = \"libvirt\"`";
        say(Verdict::Bad, text.into());
    }
}

fn network(report: &HypervisorReport, desired: &VmSpec, say: &mut impl FnMut(Verdict, String)) {
    let node = &desired.node;
    match (&desired.bridge, desired.hypervisor) {
        (Some(bridge), Hypervisor::Libvirt) if !report.bridges.contains(bridge) => {
            let bridges = report.bridges.iter().cloned().collect::<Vec<_>>().join("`, `");
            let there = if bridges.is_empty() { "none".to_owned() } else { format!("`{bridges}`") };
            say(Verdict::Bad, format!("node `{node}`: there is no bridge `{bridge}`; the bridges are {there}"));
        }
        (Some(bridge), Hypervisor::Libvirt) if report.filtered => {
            let text = "may block the office network: run `sysctl net.bridge.bridge-nf-call-iptables=0`, or allow the bridge in the chain `DOCKER-USER`";
            say(Verdict::Warn, format!("node `{node}`: Docker filters the traffic of `{bridge}`, and {text}"));
        }
        (Some(bridge), Hypervisor::Virtualbox) if !report.interfaces.contains(bridge) => {
            say(Verdict::Bad, format!("node `{node}`: there is no network interface `{bridge}`"));
        }
        (None, Hypervisor::Virtualbox) => {
            let text = report.networks.as_deref().unwrap_or(HOST_ONLY);
            if let (Some(address), Some(network)) = (desired.address, desired.network())
                && !ranges(text).any(|range| range.holds(address))
            {
                let text = "VirtualBox refuses this range: write it into /etc/vbox/networks.conf";
                say(Verdict::Bad, format!("node `{node}`: {address}: {text} (`* {network}`)"));
            }
        }
        _ => {}
    }
    if let Some(address) = desired.address.filter(|address| report.answering.contains(address)) {
        let text = "another machine answers at this address, and the node is not made yet";
        say(Verdict::Bad, format!("node `{node}`: {address}: {text}"));
    }
}

/// networks.conf(5): `* 10.0.0.0/8 192.168.0.0/16`
fn ranges(text: &str) -> impl Iterator<Item = Subnet> {
    text.lines().filter_map(|line| line.trim().strip_prefix('*')).flat_map(str::split_whitespace).filter_map(|range| {
        let (base, prefix) = range.split_once('/')?;
        let (base, prefix): (Ipv4Addr, u8) = (base.parse().ok()?, prefix.parse().ok()?);
        let mask = u32::MAX.checked_shl(32_u32.checked_sub(u32::from(prefix))?).unwrap_or(0);
        Some(Subnet { base: Ipv4Addr::from(u32::from(base) & mask), prefix })
    })
}

/// The first two numbers of a version, wherever they stand.
fn version(text: &str) -> Option<(u32, u32)> {
    let begin = text.find(|c: char| c.is_ascii_digit())?;
    let mut numbers = text[begin..].split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{drivers::node::vm::spec::VmSpec, observe::finding::Verdict};

    fn desired(hypervisor: Hypervisor) -> VmSpec {
        VmSpec {
            lab: "office".into(),
            node: "prod".into(),
            host: None,
            hypervisor,
            base: "b".into(),
            foreign: None,
            address: Some(Ipv4Addr::new(192, 168, 57, 10)),
            prefix: 24,
            bridge: None,
            cpus: 2,
            memory: 4 << 30,
            disk: 20 << 30,
        }
    }

    fn good() -> HypervisorReport {
        HypervisorReport {
            arch: "x86_64".into(),
            vagrant: Some("Vagrant 2.3.4".into()),
            plugins: "vagrant-libvirt (0.11.2, system)".into(),
            virtualbox: Some("7.0.20r163906".into()),
            able: true,
            memory: 16 << 30,
            disk: 100 << 30,
            ..HypervisorReport::default()
        }
    }

    fn bad(report: &HypervisorReport, desired: VmSpec) -> Vec<String> {
        let found = judge(report, &[desired], &BTreeMap::new(), &VmFacts::default());
        found.into_iter().filter(|finding| finding.verdict != Verdict::Good).map(|finding| finding.text).collect()
    }

    #[test]
    fn a_good_machine_has_nothing_to_say() {
        assert_eq!(bad(&good(), desired(Hypervisor::Libvirt)), [""; 0]);
        assert_eq!(bad(&good(), desired(Hypervisor::Virtualbox)), [""; 0]);
    }

    #[test]
    fn each_reason_is_one_sentence() {
        let (libvirt, virtualbox) = (desired(Hypervisor::Libvirt), desired(Hypervisor::Virtualbox));
        let elsewhere = VmSpec { address: Some(Ipv4Addr::new(10, 1, 2, 3)), ..virtualbox.clone() };
        let bridged = |spec: &VmSpec| VmSpec { bridge: Some("br7".into()), ..spec.clone() };
        let with = |change: &dyn Fn(&mut HypervisorReport)| {
            let mut report = good();
            change(&mut report);
            report
        };
        let cases = [
            (with(&|report| report.vagrant = None), libvirt.clone(), "`vagrant` is missing"),
            (
                with(&|report| report.vagrant = Some("Vagrant 1.9.8".into())),
                libvirt.clone(),
                "`Vagrant 1.9.8` is too old",
            ),
            (with(&|report| report.plugins.clear()), libvirt.clone(), "no `vagrant-libvirt`"),
            (with(&|report| report.able = false), libvirt.clone(), "ten times slower"),
            (with(&|report| report.virtualbox = None), virtualbox.clone(), "`VBoxManage` is missing"),
            (with(&|report| report.virtualbox = Some("5.2.44r1".into())), virtualbox.clone(), "5.2.44r1 is too old"),
            (with(&|report| report.able = false), virtualbox.clone(), "virtualisation is off"),
            (
                with(&|report| report.modules = "kvm_intel 1 4 - Live\n".into()),
                virtualbox.clone(),
                "running KVM machines occupy",
            ),
            (good(), elsewhere, "VirtualBox refuses this range"),
            (good(), bridged(&virtualbox), "no network interface `br7`"),
            (
                with(&|report| report.bridges = ["br0".to_owned()].into()),
                bridged(&libvirt),
                "no bridge `br7`; the bridges are `br0`",
            ),
            (
                with(&|report| report.answering = libvirt.address.into_iter().collect()),
                libvirt.clone(),
                "another machine answers",
            ),
            (with(&|report| report.memory = 1 << 30), libvirt.clone(), "4.0 GiB of memory are needed"),
            (
                with(&|report| (report.bridges, report.filtered) = (["br7".to_owned()].into(), true)),
                bridged(&libvirt),
                "Docker filters the traffic of `br7`",
            ),
            (with(&|report| report.disk = 1 << 30), libvirt.clone(), "new machines need 5.0 GiB"),
            (with(&|report| report.arch = "aarch64".into()), libvirt.clone(), "lap makes boxes only for x86_64"),
        ];
        for (report, desired, part) in cases {
            let said = bad(&report, desired);
            assert!(said.len() == 1 && said[0].contains(part), "{part}: {said:?}");
        }
    }

    #[test]
    fn a_box_of_another_architecture_is_seen_before_it_is_booted() {
        let foreign = crate::config::model::ForeignBox { name: "a/b".into(), version: None };
        let desired = VmSpec { base: foreign.to_string(), foreign: Some(foreign), ..desired(Hypervisor::Libvirt) };
        let mut facts = VmFacts { elsewhere: [(None, "a/b".to_owned())].into(), ..VmFacts::default() };
        let said = |facts: &VmFacts| {
            let found = judge(&good(), std::slice::from_ref(&desired), &BTreeMap::new(), facts);
            found.into_iter().filter(|finding| finding.verdict == Verdict::Bad).map(|finding| finding.text).collect()
        };
        let all: Vec<String> = said(&facts);
        assert_eq!(all, ["node `prod`: the box `a/b` in Vagrant is for another architecture than `x86_64`"]);
        facts.boxes.insert((None, "a/b".into()));
        let all: Vec<String> = said(&facts);
        assert_eq!(all, [""; 0], "there is one for this, too");
    }

    #[test]
    fn a_machine_that_runs_has_its_memory_and_its_address() {
        let known = BTreeMap::from([("prod".to_owned(), true)]);
        let report = HypervisorReport { memory: 1 << 30, ..good() };
        let facts = VmFacts { boxes: [(None, "b".to_owned())].into(), ..VmFacts::default() };
        let found = judge(&report, &[desired(Hypervisor::Libvirt)], &known, &facts);
        assert!(found.iter().all(|finding| finding.verdict == Verdict::Good), "{found:?}");
    }

    /// On this very machine: the script itself is right, and what it prints is understood.
    #[tokio::test]
    async fn this_machine_can_be_looked_at() {
        let report = probe_hypervisors(&Site::Here, &[], &BTreeMap::new()).await.unwrap();
        assert_eq!(report.arch, std::env::consts::ARCH);
        assert!(report.memory > 0 && report.disk > 0 && report.interfaces.contains("lo"), "{report:?}");
        let text =
            "able yes\nmodule kvm_intel 1 4 - Live\nranges\nrange * 10.0.0.0/8\nanswering 192.168.57.10\nmemory 2\n";
        let report = read(text);
        assert!(report.able && report.modules.starts_with("kvm_intel ") && report.memory == 2048, "{report:?}");
        assert_eq!(report.networks.as_deref(), Some("* 10.0.0.0/8\n"));
        assert!(report.answering.contains(&Ipv4Addr::new(192, 168, 57, 10)));
    }

    #[test]
    fn virtualbox_ranges_are_read() {
        let text = "# comment\n* 10.0.0.0/8 2001::/64\n";
        assert_eq!(ranges(text).count(), 1);
        assert!(ranges(text).any(|range| range.holds(Ipv4Addr::new(10, 1, 2, 3))));
        assert!(ranges(HOST_ONLY).any(|range| range.holds(Ipv4Addr::new(192, 168, 63, 3))));
        assert!(!ranges(HOST_ONLY).any(|range| range.holds(Ipv4Addr::new(192, 168, 64, 3))));
    }
}
