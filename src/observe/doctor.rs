//! What could be wrong with this machine, before anything is tried on it.

use std::{collections::BTreeMap, fs, net::Ipv4Addr, path::Path, process::Command};

use lap_base::{
    cgroups::{Cgroups, cgroups},
    words::bytes,
};
use lap_snapshots::Filesystem;

use super::{
    finding::{Finding, Verdict},
    hypervisors,
};
use crate::{
    config::model::Provider,
    drivers::{self, node::docker},
    keys::Keys,
    workspace::Workspace,
};

/// Below this a lab does not fit: images, node volumes and the cache.
const LEAST_DISK: u64 = 6 << 30;
/// Below this a node with the shipped containers is short.
const LEAST_MEMORY: u64 = 1 << 30;

/// Looks at everything.
pub async fn examine(workspace: &Workspace) -> Vec<Finding> {
    let mut out = vec![keys(workspace)];
    let containers = workspace.lab.nodes.values().any(|node| node.provider == Provider::Docker);
    if containers {
        out.extend([groups(), pool(), filesystem("overlay"), loops()]);
    }
    out.push(program("mmdebstrap", "makes root file systems", workspace.missing_rootfs().is_empty()));
    out.push(program("ssh", "`lap ssh` and `lap exec`", true));
    out.push(memory());
    let good = |text: String| Finding { verdict: Verdict::Good, text };
    match drivers::node::observe(&workspace.lab).await {
        Err(error) => {
            let text = format!("{error}: {}", error.hints.first().cloned().unwrap_or_default());
            out.push(Finding { verdict: Verdict::Bad, text });
            out.extend(hypervisors::examine(&workspace.lab, None, &Default::default()).await);
        }
        Ok(machines) => {
            if let Some(client) = machines.docker {
                out.push(good(format!("Docker answers (API {})", client.client_version())));
                if let Ok(info) = client.info().await {
                    let root = info.docker_root_dir.unwrap_or_else(|| "/var/lib/docker".into());
                    out.push(disk(Path::new(&root)));
                }
            }
            out.extend(hypervisors::examine(&workspace.lab, None, &machines.facts).await);
            out.extend(nodes(workspace, &machines.facts).await);
        }
    }
    let shared = |environment: &&str| {
        let nodes = workspace.lab.nodes.values().filter(|node| node.environment == **environment);
        nodes.into_iter().any(|node| node.provider == Provider::Docker)
    };
    if workspace.lab.environments.keys().map(String::as_str).filter(shared).count() > 1 {
        out.push(Finding {
            verdict: Verdict::Warn,
            text: "all environments share this machine: a `docker` node is not a security boundary, and a user who may start containers on one is root here"
                .into(),
        });
    }
    out
}

fn keys(workspace: &Workspace) -> Finding {
    let now = time::OffsetDateTime::now_utc();
    let look = |keys: Keys| {
        let mut wrong: Vec<String> = keys.ending(now)?.iter().map(|ending| ending.sentence(now)).collect();
        let wide =
            |name: &str| format!("the authority `.lap/keys/{name}/issuing.crt` can sign names of other environments");
        wrong.extend(keys.too_wide(&workspace.lab.dns.zone).into_iter().map(wide));
        Ok((keys.admin().fingerprint(), wrong))
    };
    match workspace.keys().and_then(look) {
        Ok((admin, wrong)) if wrong.is_empty() => {
            Finding { verdict: Verdict::Good, text: format!("keys are in .lap/keys; admin key {admin}") }
        }
        Ok((_, wrong)) => {
            let text = format!(
                "{}: `lap keys new` signs it again where `.lap/keys/root.key` is; then `lap up --all`, and `lap keys trust` on each \
                 machine if it is `root.crt`",
                wrong.join("; ")
            );
            Finding { verdict: Verdict::Warn, text }
        }
        Err(error) => Finding { verdict: Verdict::Bad, text: format!("{error}: {}", error.hints.join("; or ")) },
    }
}

fn groups() -> Finding {
    let text = match cgroups() {
        Cgroups::V1 => "control groups v1: the groups of inner containers are below their node's group",
        Cgroups::V2 => "control groups v2",
    };
    Finding { verdict: Verdict::Good, text: text.into() }
}

fn filesystem(name: &str) -> Finding {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if known.lines().any(|line| line.split_whitespace().last() == Some(name)) {
        return Finding { verdict: Verdict::Good, text: format!("the kernel has {name}") };
    }
    // It may be a module that is loaded when it is first used.
    let module = Command::new("modinfo").arg(name).output().is_ok_and(|output| output.status.success());
    if module {
        return Finding {
            verdict: Verdict::Warn,
            text: format!("the kernel has {name} as a module: `sudo modprobe {name}` loads it"),
        };
    }
    Finding { verdict: Verdict::Bad, text: format!("the kernel has no {name}, which nodes need") }
}

/// What the pools of `docker` nodes lie on.
fn pool() -> Finding {
    let btrfs = filesystem(Filesystem::Btrfs.name());
    let others = || [Filesystem::Xfs, Filesystem::Ext4].map(|other| filesystem(other.name()).verdict);
    match btrfs.verdict == Verdict::Bad && others().into_iter().any(|verdict| verdict != Verdict::Bad) {
        true => {
            let cost = Filesystem::Ext4.cost().unwrap_or_default();
            Finding {
                verdict: Verdict::Warn,
                text: format!("the kernel has no btrfs, so new pools are xfs or ext4: {cost}"),
            }
        }
        false => btrfs,
    }
}

fn loops() -> Finding {
    if Path::new("/dev/loop-control").exists() {
        return Finding { verdict: Verdict::Good, text: "loop devices exist, for the nodes' pools".into() };
    }
    Finding { verdict: Verdict::Bad, text: "there are no loop devices: `sudo modprobe loop`".into() }
}

fn program(name: &str, what: &str, spare: bool) -> Finding {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file());
    match found {
        Some(path) => Finding { verdict: Verdict::Good, text: format!("{} ({what})", path.display()) },
        None => Finding {
            verdict: if spare { Verdict::Warn } else { Verdict::Bad },
            text: format!("`{name}` is missing ({what}): `scripts/up` installs it"),
        },
    }
}

/// This machine's memory that is free for something new.
pub fn available_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    available.unwrap_or_default() * 1024
}

fn memory() -> Finding {
    let available = available_memory();
    let verdict = if available < LEAST_MEMORY { Verdict::Warn } else { Verdict::Good };
    Finding { verdict, text: format!("{} of memory available", bytes(available)) }
}

fn disk(path: &Path) -> Finding {
    let Ok(stat) = nix::sys::statvfs::statvfs(path) else {
        return Finding { verdict: Verdict::Warn, text: format!("cannot read the free space of `{}`", path.display()) };
    };
    let free = stat.blocks_available() * stat.fragment_size();
    let verdict = if free < LEAST_DISK { Verdict::Bad } else { Verdict::Good };
    let wants = if verdict == Verdict::Bad { format!(": a lab needs {}", bytes(LEAST_DISK)) } else { String::new() };
    Finding { verdict, text: format!("{} free in `{}`{wants}", bytes(free), path.display()) }
}

async fn nodes(workspace: &Workspace, host: &docker::HostFacts) -> Vec<Finding> {
    let (subnet, addresses) = match workspace.addresses(host) {
        Ok(found) => found,
        Err(error) => return vec![Finding { verdict: Verdict::Bad, text: error.to_string() }],
    };
    let is = if host.subnet.is_some() { "is" } else { "will be" };
    let mut out = Vec::new();
    if workspace.lab.nodes.values().any(|node| node.provider == Provider::Docker) {
        let text = format!("the lab's network {is} {subnet}; only this machine reaches it");
        out.push(Finding { verdict: Verdict::Good, text });
    }
    out.extend(workspace.lab.nodes.values().map(|node| {
        let reach = match node.publish {
            _ if node.provider == Provider::Ssh => "an existing machine".into(),
            _ if node.provider == Provider::Vagrant && node.vm.bridge.is_some() => "in the office network".into(),
            _ if node.provider == Provider::Vagrant && node.vm.host.is_some() => {
                "only its host reaches its services: set `bridge` in its node.toml to change that".into()
            }
            _ if node.provider == Provider::Vagrant => {
                "colleagues do not reach it: set `bridge` in its node.toml to change that".into()
            }
            Some(address) => format!("colleagues reach its ports at {address}"),
            None => "colleagues do not reach it: set `publish` in its node.toml to change that".into(),
        };
        let state = host.nodes.get(&node.name).map_or("not made yet", |state| state.state.as_str());
        let address = addresses.get(&node.name).map_or("no address yet".into(), ToString::to_string);
        Finding { verdict: Verdict::Good, text: format!("node `{}` ({address}): {state}; {reach}", node.name) }
    }));
    out.extend(host_keys(workspace, host, &addresses).await);
    out
}

/// Connects to the nodes that run: a wrong host key or a refused key shows here.
async fn host_keys(
    workspace: &Workspace,
    host: &docker::HostFacts,
    addresses: &BTreeMap<String, Ipv4Addr>,
) -> Vec<Finding> {
    let Ok(keys) = workspace.keys() else { return Vec::new() };
    let mut out = Vec::new();
    for (name, _) in host.nodes.iter().filter(|(_, state)| state.running) {
        let Some(address) = addresses.get(name) else { continue };
        match workspace.connect(&keys, name, *address, std::time::Duration::from_secs(2)).await {
            Ok(_) => out.push(Finding {
                verdict: Verdict::Good,
                text: format!(
                    "node `{name}` has its own host key {}",
                    keys.host_key(name).map(|key| key.fingerprint()).unwrap_or_default()
                ),
            }),
            Err(error) => out.push(Finding { verdict: Verdict::Bad, text: error.to_string() }),
        }
    }
    out
}
