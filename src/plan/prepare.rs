//! What it takes until a machine that already exists is a node.

use lap_base::{
    error::{Error, Kind, Result},
    words::{bytes, plural},
};
use lap_snapshots::Filesystem;

use crate::drivers::node::machine::{MachineProbe, PACKAGES};

/// Below, the shipped containers do not start.
const LEAST_MEMORY: u64 = 900 << 20;

/// The machine as it should be.
#[derive(Clone, Copy, Debug)]
pub struct DesiredMachine<'a> {
    pub lab: &'a str,
    pub node: &'a str,
    /// Of `node.json` and of lap's binary, as `sha256sum` prints them.
    pub config: &'a str,
    pub binary: &'a str,
    /// The architecture lap was built for.
    pub arch: &'a str,
    /// The pool's size, where it is a file.
    pub disk: u64,
    pub device: Option<&'a str>,
    pub filesystem: Option<Filesystem>,
}

/// What would be done to a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepare {
    /// Debian's names.
    pub packages: Vec<&'static str>,
    /// lap's own files are not as they should be, or the agent does not run.
    pub order: bool,
    /// A sentence each: what is done, and what is left alone.
    pub steps: Vec<String>,
    pub notes: Vec<String>,
}

impl Prepare {
    /// The machine is as it should be.
    pub fn nothing(&self) -> bool {
        self.packages.is_empty() && !self.order
    }
}

/// Plans it.
///
/// # Errors
/// Every reason why this machine cannot be this node, at once.
pub fn prepare(desired: &DesiredMachine<'_>, probe: &MachineProbe) -> Result<Prepare> {
    let wrong = wrong(desired, probe);
    if let Some(first) = wrong.first() {
        let all = if wrong.len() == 1 { first.clone() } else { format!("\n  {}", wrong.join("\n  ")) };
        return Err(Error::new(Kind::Refused, format!("`{}` cannot be a node: {all}", desired.node))
            .hint("nothing was changed on it"));
    }
    let mut out = Prepare { packages: missing(desired, probe), ..Prepare::default() };
    if !out.packages.is_empty() {
        out.steps.push(format!("install {} (apt-get)", out.packages.join(", ")));
    }
    let (config, binary) = (probe.get("node") == desired.config, probe.get("binary") == desired.binary);
    out.order = !config || !binary || probe.get("agent") != "yes" || !out.packages.is_empty();
    if !binary {
        out.steps.push("install lap in /usr/local/bin".into());
    }
    if !config {
        out.steps.push("write its name, host key and authorized keys to /var/lib/lap".into());
        out.steps.push(match (desired.device, probe.get("on-device")) {
            (Some(device), on) if is_pool(on) => format!("use the existing pool on {device}"),
            (Some(device), _) => format!("make a pool on {device} ({})", bytes(probe.number("device"))),
            (None, _) => format!("make the pool in a sparse file of {}, /var/lib/lap/pool.img", bytes(desired.disk)),
        });
    }
    if out.order {
        out.steps.push(match probe.get("systemd") {
            "yes" => "enable lap-agent.service, so that systemd runs the agent, and Docker after it".into(),
            _ => "start the agent; there is no systemd: after a boot, run `lap node prepare` to start it again".into(),
        });
    }
    if let (None, Some(cost)) = (desired.filesystem, filesystem(desired, probe).and_then(Filesystem::cost))
        && !config
    {
        out.notes.push(format!("its kernel has no btrfs: {cost}"));
    }
    let others = probe.number("containers").saturating_sub(probe.number("own"));
    if others > 0 {
        out.notes.push(format!(
            "its Docker, and the {} there that do not belong to lap, do not change",
            plural(others as usize, "container")
        ));
    }
    if probe.get("daemon.json") == "yes" && probe.get("node").is_empty() {
        out.notes.push(
            "its /etc/docker/daemon.json does not change: containers use the name servers in it, not the lab's".into(),
        );
    }
    Ok(out)
}

/// `docker.io` also where dockerd came from elsewhere (docker-ce): it is there.
fn missing(desired: &DesiredMachine<'_>, probe: &MachineProbe) -> Vec<&'static str> {
    // Of the pool's own program only the one that will be needed.
    let program = filesystem(desired, probe).unwrap_or(Filesystem::Btrfs).package();
    let wanted = |package: &&str| *package != Filesystem::Btrfs.package() || program == *package;
    let there = |package: &str| {
        probe.packages.iter().any(|is| is == package)
            || (package == "docker.io" && probe.get("dockerd") == "yes")
            || (package == "openssh-server" && probe.get("sshd") == "yes")
    };
    let all = PACKAGES.into_iter().filter(wanted);
    let own = [program].into_iter().filter(|program| !PACKAGES.contains(program));
    all.chain(own).filter(|package| !there(package)).collect()
}

fn wrong(desired: &DesiredMachine<'_>, probe: &MachineProbe) -> Vec<String> {
    let mut out = Vec::new();
    let mut need = |good: bool, why: String| {
        if !good {
            out.push(why);
        }
    };
    let family = |name: &str| probe.get("id") == name || probe.get("like").split_whitespace().any(|like| like == name);
    need(
        family("debian") || family("ubuntu"),
        format!("it runs `{}`, and lap can install packages only on Debian and Ubuntu", probe.get("id")),
    );
    need(
        probe.get("arch") == desired.arch,
        format!("it is `{}`, and this lap was built for `{}`", probe.get("arch"), desired.arch),
    );
    need(
        probe.as_root().is_some(),
        format!("the user `{}` is not root there, and has no `sudo` without a password", probe.get("uid")),
    );
    need(
        filesystem(desired, probe).is_some(),
        match desired.filesystem {
            Some(desired) => format!("its kernel has no {desired}, which the pool needs"),
            None => "its kernel has neither btrfs, xfs nor ext4, and the pool needs one of them".to_owned(),
        },
    );
    let memory = probe.number("memory") << 10;
    need(
        memory >= LEAST_MEMORY,
        format!("it has {} of memory, and needs at least {}", bytes(memory), bytes(LEAST_MEMORY)),
    );
    if let Some((lab, node)) = owner(probe.get("who")) {
        need((lab, node) == (desired.lab, desired.node), format!("it is the node `{node}` of the lab `{lab}`"));
    } else {
        need(probe.get("port") != "taken", "another program listens on 127.0.0.1:7022, the port of lap's sshd".into());
    }
    if let Some(device) = desired.device {
        need(!probe.get("device").is_empty(), format!("it has no disk `{device}`"));
        let on = probe.get("on-device");
        need(on.is_empty() || is_pool(on), format!("`{device}` is not empty: `{on}` is on it"));
    }
    out
}

/// What a new pool would be.
fn filesystem(desired: &DesiredMachine<'_>, probe: &MachineProbe) -> Option<Filesystem> {
    let known = |filesystem: &Filesystem| probe.filesystems.iter().any(|name| name == filesystem.name());
    // Of the others only ext4's program is on every machine.
    let usual = |one: &Filesystem| *one != Filesystem::Xfs || probe.packages.iter().any(|is| is == one.package());
    let best = Filesystem::ALL.into_iter().filter(usual).find(known);
    desired.filesystem.map_or(best, |desired| Some(desired).filter(known))
}

/// As `blkid` describes one: what it is, and its label.
fn is_pool(on: &str) -> bool {
    on.strip_suffix(" lap").and_then(Filesystem::named).is_some()
}

/// Lab and node, from `node.json`.
fn owner(text: &str) -> Option<(&str, &str)> {
    let value = |key: &str| text.split_once(&format!("\"{key}\": \""))?.1.split_once('"').map(|(value, _)| value);
    Some((value("lab")?, value("node")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str = "id debian\nversion 12\narch x86_64\nuid 0\nroot yes\nsystemd yes\nfilesystem btrfs\n\
                        filesystem overlay\nmemory 4000000\ndisk 90000000\n";

    fn desired() -> DesiredMachine<'static> {
        DesiredMachine {
            lab: "office",
            node: "prod",
            config: "c",
            binary: "b",
            arch: "x86_64",
            disk: 20 << 30,
            device: None,
            filesystem: None,
        }
    }

    #[test]
    fn a_bare_machine_gets_everything() {
        let plan = prepare(&desired(), &MachineProbe::of(BARE)).unwrap();
        assert_eq!(plan.packages, PACKAGES);
        assert_eq!(
            plan.steps,
            [
                "install apparmor, btrfs-progs, ca-certificates, docker.io, iptables, kmod, openssh-server, procps (apt-get)",
                "install lap in /usr/local/bin",
                "write its name, host key and authorized keys to /var/lib/lap",
                "make the pool in a sparse file of 20.0 GiB, /var/lib/lap/pool.img",
                "enable lap-agent.service, so that systemd runs the agent, and Docker after it",
            ]
        );
    }

    #[test]
    fn a_prepared_one_gets_nothing() {
        let packages: String = PACKAGES.iter().map(|package| format!("package {package}\n")).collect();
        let who = "who {  \"lab\": \"office\",  \"node\": \"prod\",}\nport taken\nnode c\nbinary b\nagent yes\n";
        let probe = MachineProbe::of(&format!("{BARE}{packages}{who}"));
        assert!(prepare(&desired(), &probe).unwrap().nothing());
        // A newer lap, or an agent that is gone.
        let newer = prepare(&DesiredMachine { binary: "x", ..desired() }, &probe).unwrap();
        assert_eq!(newer.steps.len(), 2, "{newer:?}");
        let error = prepare(&DesiredMachine { lab: "home", ..desired() }, &probe).unwrap_err();
        assert_eq!(error.message, "`prod` cannot be a node: it is the node `prod` of the lab `office`");
    }

    #[test]
    fn what_is_others_stays() {
        let probe = MachineProbe::of(&format!("{BARE}dockerd yes\ncontainers 4\nown 1\ndaemon.json yes\n"));
        let plan = prepare(&desired(), &probe).unwrap();
        assert!(!plan.packages.contains(&"docker.io"));
        assert_eq!(plan.notes[0], "its Docker, and the 3 containers there that do not belong to lap, do not change");
        assert!(plan.notes[1].contains("daemon.json does not change"));
    }

    #[test]
    fn a_kernel_without_btrfs_costs_a_pause_and_that_is_said() {
        let bare = BARE.replace("filesystem btrfs", "filesystem xfs\nfilesystem ext4");
        let plan = prepare(&desired(), &MachineProbe::of(&bare)).unwrap();
        assert!(plan.packages.contains(&"e2fsprogs") && !plan.packages.contains(&"btrfs-progs"));
        assert!(
            plan.notes[0].starts_with("its kernel has no btrfs: a snapshot freezes containers for a moment"),
            "{plan:?}"
        );
        let desired = DesiredMachine { filesystem: Some(Filesystem::Xfs), ..desired() };
        let plan = prepare(&desired, &MachineProbe::of(&format!("{bare}package xfsprogs\n"))).unwrap();
        assert!(!plan.packages.contains(&"xfsprogs") && plan.notes.is_empty());
        let refused = prepare(&desired, &MachineProbe::of(BARE)).unwrap_err().message;
        assert!(refused.contains("its kernel has no xfs"), "{refused}");
        let taken = MachineProbe::of(&format!("{bare}device 1000\non-device ext4 lap\n"));
        let plan = prepare(&DesiredMachine { device: Some("/dev/sdb"), filesystem: None, ..desired }, &taken).unwrap();
        assert!(plan.steps.contains(&"use the existing pool on /dev/sdb".to_owned()), "{plan:?}");
    }

    #[test]
    fn every_reason_is_said_at_once() {
        let probe = MachineProbe::of(
            "id fedora\narch aarch64\nuid 1000\nroot no\nmemory 500000\nport taken\non-device ext4 home",
        );
        let message = prepare(&DesiredMachine { device: Some("/dev/sdb"), ..desired() }, &probe).unwrap_err().message;
        for part in [
            "runs `fedora`",
            "is `aarch64`",
            "`sudo` without",
            "neither btrfs, xfs nor ext4",
            "of memory",
            "7022",
            "no disk",
            "`ext4 home`",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
}
