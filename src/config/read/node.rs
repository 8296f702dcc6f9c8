//! `nodes/<name>/node.toml`: a machine.

use std::{net::Ipv4Addr, path::Path};

use lap_snapshots::Filesystem;

use super::{ParsedFile, machine};
use crate::config::{
    document::{Item, Schema, Table, open, schema::key},
    files,
    model::{Address, Node, Provider, Role, Vm},
    problem::{Ledger, did_you_mean, shown},
    value::{address, size::size},
};

/// The keys of `node.toml`.
pub const SCHEMA: Schema = Schema {
    keys: &[
        key("environment", r#""test""#),
        key("role", r#""master""#),
        key("provider", r#""docker""#),
        key("address", r#"".10""#),
        key("publish", r#""192.168.0.2""#),
        key("cpus", "2"),
        key("memory", r#""4g""#),
        key("disk", r#""20g""#),
        key("filesystem", r#""btrfs""#),
        key("ssh", r#"{ destination = "admin@server" }"#),
        key("vm", r#"{ hypervisor = "libvirt" }"#),
    ],
    refused: &[],
};

/// Below, a node's services do not even start; the pool's file system needs about this much for itself.
const LEAST_MEMORY: u64 = 256 << 20;
const LEAST_DISK: u64 = 256 << 20;
const LEAST_XFS: u64 = 300 << 20;
const DISK: u64 = 20 << 30;

const ROLES: [(&str, Role); 5] = [
    ("master", Role::Master),
    ("worker", Role::Worker),
    ("data", Role::Data),
    ("builder", Role::Builder),
    ("backup", Role::Backup),
];

/// A node as its file says. What other files are compared with is `None` where it is missing or wrong.
#[derive(Debug)]
pub struct NodeFile {
    pub node: Node,
    pub environment: Option<String>,
    pub role: Option<Role>,
    /// lap chooses its address.
    pub placed: bool,
}

/// Reads the node `name`.
pub fn read(root: &Path, name: &str, ledger: &Ledger) -> ParsedFile<NodeFile> {
    let mut out = NodeFile { node: blank(name), environment: None, role: None, placed: false };
    let path = format!("nodes/{name}/node.toml");
    let missing = "missing: each directory under `nodes` needs one, see `lap help node.toml`";
    let file = files::read(root, &path, missing, ledger).filter(|file| {
        let Some(document) = open(file, ledger) else { return false };
        let table = Table::document(file, &document, &SCHEMA, ledger);
        let node = &mut out.node;
        out.environment = table.require("environment").and_then(|item| item.string()).map(str::to_owned);
        out.role = table.require("role").and_then(|item| item.parse(role));
        let written = table.get("provider").and_then(|item| item.parse(provider));
        node.provider = written.unwrap_or(Provider::Docker);
        node.ssh = table.get("ssh").and_then(|item| machine::ssh(&item));
        if node.provider == Provider::Ssh && table.get("ssh").is_none() {
            table.problem(
                "ssh",
                "missing: write the destination of the machine, e.g. `ssh = { destination = \"admin@server\" }`",
            );
        }
        node.vm = table.get("vm").and_then(|item| machine::vm(&item)).unwrap_or_default();
        let address_item = table.get("address");
        node.address = address_item.as_ref().and_then(|item| item.parse(address::address));
        let of_its_own = match node.provider {
            Provider::Docker => false,
            // lap gives it one.
            Provider::Vagrant => address_item.is_some() || out.role == Some(Role::Master),
            _ => true,
        };
        out.placed = address_item.is_none() && !of_its_own && node.provider == Provider::Vagrant;
        if of_its_own && !matches!(node.address, Some(Address::Full(_))) {
            table.problem(
                "address",
                "a machine needs an address of its own: write a full address, e.g. `192.168.57.10`",
            );
        } else if out.role == Some(Role::Master) && address_item.is_none() {
            table.problem("address", "missing: a master needs a fixed address, write e.g. `address = \".10\"`");
        }
        node.publish = table.get("publish").and_then(|item| item.parse(address::publish));
        if node.provider == Provider::Vagrant
            && let Some(item) = table.get("publish")
        {
            item.problem(
                "lap does not publish ports of a virtual machine: use `[vm] bridge` to put it into the office network",
            );
        }
        node.cpus = table.get("cpus").and_then(|item| cpus(&item));
        node.memory = table.get("memory").and_then(|item| bytes(&item, LEAST_MEMORY, "256m"));
        node.disk = table.get("disk").and_then(|item| bytes(&item, LEAST_DISK, "256m")).unwrap_or(DISK);
        node.filesystem = table.get("filesystem").and_then(|item| item.parse(filesystem));
        if let (Some(Filesystem::Xfs), Some(item)) = (node.filesystem, table.get("disk"))
            && node.disk < LEAST_XFS
        {
            item.problem("too small for xfs: write `300m` or more");
        }
        node.environment = out.environment.clone().unwrap_or_default();
        node.role = out.role.unwrap_or(Role::Worker);
        true
    });
    ParsedFile { file, value: out }
}

/// The file of a machine that already exists.
pub fn text(
    environment: &str,
    role: &str,
    address: Ipv4Addr,
    destination: &str,
    host_key: &str,
    device: Option<&str>,
) -> String {
    let device = device.map(|device| format!("device = \"{device}\"\n")).unwrap_or_default();
    format!(
        "# A machine that already exists. `lap help node.toml` shows every key.\n\
         environment = \"{environment}\"\nrole = \"{role}\"\nprovider = \"ssh\"\naddress = \"{address}\"\n\n\
         [ssh]\ndestination = \"{destination}\"\nhost_key = \"{host_key}\"\n{device}"
    )
}

/// A share of the CPUs, for nodes and containers.
pub fn cpus(item: &Item<'_>) -> Option<f64> {
    let value = item.number()?;
    if value.is_finite() && (0.01..=1024.0).contains(&value) {
        return Some(value);
    }
    item.problem(format!("`{value}` is not a number of CPUs: write 0.01 to 1024, e.g. `0.5` or `2`"));
    None
}

/// A size of at least `least`, for nodes and containers.
pub fn bytes(item: &Item<'_>, least: u64, written: &str) -> Option<u64> {
    let value = if item.is_integer() { item.integer(0, i64::MAX as u64)? } else { item.parse(size)? };
    if value >= least {
        return Some(value);
    }
    item.problem(format!("too small: write `{written}` or more"));
    None
}

fn blank(name: &str) -> Node {
    Node {
        name: name.to_owned(),
        environment: String::new(),
        role: Role::Worker,
        provider: Provider::Docker,
        address: None,
        publish: None,
        cpus: None,
        memory: None,
        disk: DISK,
        filesystem: None,
        ssh: None,
        vm: Vm::default(),
    }
}

fn role(text: &str) -> Result<Role, String> {
    let known = ROLES.iter().find(|(name, _)| *name == text);
    known.map(|(_, role)| *role).ok_or_else(|| {
        let guess = did_you_mean(text, ROLES.map(|(name, _)| name));
        let help = if guess.is_empty() {
            ": write `master`, `worker`, `data`, `builder` or `backup`".to_owned()
        } else {
            guess
        };
        format!("{} is not a role{help}", shown(text))
    })
}

fn filesystem(text: &str) -> Result<Filesystem, String> {
    Filesystem::named(text)
        .ok_or_else(|| format!("{} is not a file system for a pool: write `btrfs`, `xfs` or `ext4`", shown(text)))
}

fn provider(text: &str) -> Result<Provider, String> {
    match text {
        "docker" => Ok(Provider::Docker),
        "ssh" => Ok(Provider::Ssh),
        "vagrant" => Ok(Provider::Vagrant),
        "local" => Err(format!("`{text}` is not supported yet: use `docker`, `vagrant` or `ssh`")),
        _ => Err(format!("{} is not a provider: write `docker`, `vagrant` or `ssh`", shown(text))),
    }
}
