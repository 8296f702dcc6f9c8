//! What a workspace says, after it was read and found right: plain values, no file positions, no Docker.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use lap_repositories::Location;
use lap_snapshots::{Filesystem, hooks::SnapshotHooks, keep::SnapshotPolicy};
use serde::{Deserialize, Serialize};

/// Everything one workspace describes: the desired state.
#[derive(Clone, Debug)]
pub struct Lab {
    /// The lab's identity, `lab` in `lap.toml` unless a variable overrides it. A DNS label.
    pub name: String,
    /// The workspace's directory (absolute): the one with `lap.toml`.
    pub root: PathBuf,
    /// The environment that is meant when none is named.
    pub default_environment: String,
    /// `None`: lap picks a free one and keeps it as a label of the network.
    pub subnet: Option<Subnet>,
    /// Public keys (OpenSSH format) of people who may operate nodes beside the `admin` key.
    pub operators: BTreeMap<String, String>,
    /// What a container may have beyond its own data: container name → host paths, capabilities, keys such as `network_mode: host`.
    pub grants: BTreeMap<String, BTreeSet<String>>,
    /// Physical machines: name → address (`<x>.host.internal`).
    pub hosts: BTreeMap<String, Address>,
    /// Work stations: `<first>-<last>[-<specifier>]` → address.
    pub pcs: BTreeMap<String, Address>,
    /// What the environments' DNS servers say and do beside what follows from all this.
    pub dns: Dns,
    /// Which snapshots the nodes take and keep by themselves; `None`: none, and all.
    pub snapshot: Option<SnapshotPolicy>,
    /// Where snapshots are copied to: name → place.
    pub repositories: BTreeMap<String, Location>,
    /// When they are copied there and verified, and which copies stay.
    pub copies: lap_repositories::policy::CopyPolicy,
    /// When a release may stay.
    pub promote: Promote,
    /// By name.
    pub environments: BTreeMap<String, Environment>,
    /// By name.
    pub nodes: BTreeMap<String, Node>,
    /// By name.
    pub containers: BTreeMap<String, Container>,
    /// What nodes are made from: `nodes/rootfs.toml`.
    pub rootfs: Rootfs,
}

/// `[dns]` in `lap.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// The zone all the lab's names are in, without a final dot: `internal`.
    pub zone: String,
    /// Networks whose machines may ask for names that are not the lab's; `None`: what the server takes for private.
    pub clients: Option<Vec<String>>,
    /// Networks beside the lab's own whose reverse zones are the lab's.
    pub reverse: Vec<String>,
    /// Secondary servers, told when a zone changes.
    pub secondaries: Vec<SocketAddr>,
    /// Domains (without a final dot) that are asked at servers of their own.
    pub forward: BTreeMap<String, Vec<SocketAddr>>,
    /// Further records: name (without its final dot), type and data, both as in a zone file.
    pub records: Vec<(String, String, String)>,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            zone: ZONE.to_owned(),
            clients: None,
            reverse: Vec::new(),
            secondaries: Vec::new(),
            forward: BTreeMap::new(),
            records: Vec::new(),
        }
    }
}

/// `[promote]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promote {
    /// So long nothing may fall over after all is healthy.
    pub settle: Duration,
    /// A service that is away for longer has the release taken back; `None`: it is only told.
    pub max_outage: Option<Duration>,
    /// So many of the newest releases stay.
    pub keep: u64,
    /// So long what failed releases left stays.
    pub keep_failed: Duration,
}

impl Default for Promote {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(10),
            max_outage: None,
            keep: 10,
            keep_failed: Duration::from_secs(14 * 24 * 3600),
        }
    }
}

/// An IPv4 network, e.g. `192.168.0.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Subnet {
    /// The network's own address (host bits are zero).
    pub base: Ipv4Addr,
    /// 8 to 29.
    pub prefix: u8,
}

/// An address as it is written: `.10` is an offset in the lab's subnet, anything else is itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// `.10`
    Offset(u8),
    /// `192.168.0.10`
    Full(Ipv4Addr),
}

/// One deployment of the infrastructure: `env/<name>/env.toml` and everything beside it.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The directory's name.
    pub name: String,
    /// For people.
    pub description: String,
    /// Where its releases come from; an environment with this set runs releases, one without runs the working tree.
    pub promote_from: Option<String>,
    /// Where its DNS server asks for everything it does not know; empty: what the host itself uses.
    pub upstreams: Vec<std::net::IpAddr>,
    /// What becomes of it when a commit that was pushed cannot be built, or its checks fail.
    pub on_failure: OnFailure,
    /// The node with role `master` (exactly one, checked).
    pub master: String,
    /// The node with role `builder` (at most one, checked): images are made there; `None`: on the master.
    pub builder: Option<String>,
}

/// What becomes of an environment when what was pushed fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It stays, to be looked at.
    #[default]
    Keep,
    /// What ran before runs again, with the data it had.
    Restore,
}

/// What a node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Master,
    Worker,
    Data,
    Builder,
    Backup,
}

/// How lap gets a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// A container that stands in for a machine.
    Docker,
    /// A virtual machine, through Vagrant.
    Vagrant,
    /// A machine that already exists.
    Ssh,
    /// This machine. Reserved.
    Local,
}

/// A machine with an SSH address, a Docker Engine and `/data`: `nodes/<name>/node.toml`.
#[derive(Clone, Debug)]
pub struct Node {
    /// The directory's name.
    pub name: String,
    /// The environment it belongs to.
    pub environment: String,
    pub role: Role,
    pub provider: Provider,
    /// Masters must have one; others may leave it to lap.
    pub address: Option<Address>,
    /// The host's address its containers' ports are mapped to, for colleagues.
    pub publish: Option<Ipv4Addr>,
    /// CPUs it may use; `None`: all.
    pub cpus: Option<f64>,
    /// Bytes of memory it may use; `None`: all.
    pub memory: Option<u64>,
    /// Size of the data pool in bytes (sparse).
    pub disk: u64,
    /// What a new pool is; `None`: the best that the node's kernel has.
    pub filesystem: Option<Filesystem>,
    /// How a machine of the provider `ssh` is reached.
    pub ssh: Option<SshMachine>,
    /// What a machine of the provider `vagrant` is.
    pub vm: Vm,
}

impl Node {
    /// Vagrant makes it from a box of others, so that an sshd of the box' own is there beside lap's.
    pub fn is_foreign(&self) -> bool {
        self.provider == Provider::Vagrant && self.vm.foreign.is_some()
    }

    /// The office's DHCP gives it its address, and may give it another one tomorrow.
    pub fn is_leased(&self) -> bool {
        self.provider == Provider::Vagrant && self.vm.bridge.is_some() && self.address.is_none()
    }
}

/// `[ssh]` of a `node.toml`: a machine that already exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshMachine {
    /// As ssh(1) takes it: a name of `~/.ssh/config`, `[user@]host`, or `ssh://[user@]host[:port]`.
    pub destination: String,
    /// The only host key that is accepted, `ssh-ed25519 AAAA…`; `None` until `lap node add` has shown it.
    pub host_key: Option<String>,
    /// The disk for the pool; `None`: a sparse file.
    pub device: Option<String>,
}

/// `[vm]` of a `node.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vm {
    /// The host that runs it, as ssh(1) takes it; `None`: this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    pub hypervisor: Hypervisor,
    /// A bridge of the host to which the machine is connected; `None`: a network of the host's own.
    pub bridge: Option<String>,
    /// What others made that it is made from; `None`: lap's own box.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign: Option<ForeignBox>,
}

/// A box of others, as Vagrant knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignBox {
    /// `debian/bookworm64`
    pub name: String,
    /// `None`: the newest that Vagrant has or finds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Name and version, as they are told and compared.
impl std::fmt::Display for ForeignBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, " {version}"))
    }
}

/// What runs a virtual machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hypervisor {
    #[default]
    Libvirt,
    Virtualbox,
}

/// One directory under `containers/`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Container {
    /// The directory's name; runs as `infra_<name>`.
    pub name: String,
    /// For people.
    pub description: String,
    /// How many run: 0 is "only built, others stand on it", 1 is the rule.
    pub scale: u32,
    /// DNS names under the zone, e.g. `git.internal`, in every environment's own server.
    pub names: Vec<String>,
    pub ports: Vec<Port>,
    /// Host paths beyond the container's own data (each granted in `lap.toml`).
    pub volumes: Vec<Volume>,
    pub environment: BTreeMap<String, String>,
    pub depends_on: BTreeSet<String>,
    pub healthcheck: Option<Healthcheck>,
    pub cap_add: BTreeSet<String>,
    pub cap_drop: BTreeSet<String>,
    pub security_opt: Vec<String>,
    pub privileged: bool,
    pub read_only: bool,
    pub tmpfs: Vec<String>,
    /// Bytes.
    pub mem_limit: Option<u64>,
    /// Processes and threads; `None`: [`PIDS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids_limit: Option<u32>,
    pub cpus: Option<f64>,
    pub user: Option<String>,
    pub init: bool,
    /// `bridge` (the rule) or `host` (granted in `lap.toml`).
    pub network_mode: NetworkMode,
    pub command: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub hostname: Option<String>,
    pub stop_grace_period: Duration,
    pub stop_signal: Option<String>,
    /// Names of secrets lap mounts under `/run/secrets`.
    pub secrets: BTreeSet<String>,
    /// The limit of its data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataLimit>,
    /// What it does around a snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotHooks>,
    /// How the scripts in its `checks/` are run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<Checks>,
    pub build: Build,
}

/// How many processes and threads a container may have that declares no `pids_limit`: a container that starts processes without end
/// leaves the others room.
pub const PIDS: u32 = 4096;

/// `[data]` in container.toml.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataLimit {
    /// Bytes. When the pool is almost full, the agent freezes a container whose data is larger.
    pub size: u64,
}

/// `[checks]` in container.toml.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checks {
    /// The container whose image they run in, for one whose own has no shell; `None`: its own.
    pub image: Option<String>,
    /// Each may take so long.
    pub timeout: Duration,
}

impl Default for Checks {
    fn default() -> Self {
        Self { image: None, timeout: Duration::from_secs(60) }
    }
}

impl Container {
    /// A container whose file says nothing: all defaults.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            scale: 1,
            names: Vec::new(),
            ports: Vec::new(),
            volumes: Vec::new(),
            environment: BTreeMap::new(),
            depends_on: BTreeSet::new(),
            healthcheck: None,
            cap_add: BTreeSet::new(),
            cap_drop: BTreeSet::new(),
            security_opt: Vec::new(),
            privileged: false,
            read_only: false,
            tmpfs: Vec::new(),
            mem_limit: None,
            pids_limit: None,
            cpus: None,
            user: None,
            init: false,
            network_mode: NetworkMode::Bridge,
            command: None,
            entrypoint: None,
            hostname: None,
            stop_grace_period: Duration::from_secs(10),
            stop_signal: None,
            secrets: BTreeSet::new(),
            data: None,
            snapshot: None,
            checks: None,
            build: Build::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    #[default]
    Bridge,
    Host,
}

/// `[[127.0.0.1:]HOST:]CONTAINER[/PROTOCOL]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Port {
    /// On the node.
    pub host: u16,
    /// In the container.
    pub container: u16,
    /// `tcp` or `udp`.
    pub protocol: Protocol,
    /// Only the node itself reaches it, at 127.0.0.1.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub node_only: bool,
}

impl Port {
    /// A TCP port that others reach.
    pub fn is_public_tcp(&self) -> bool {
        self.protocol == Protocol::Tcp && !self.node_only
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
}

/// `SOURCE:TARGET[:ro]`, a bind mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub source: PathBuf,
    pub target: PathBuf,
    pub read_only: bool,
}

/// The Compose specification's `healthcheck`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// `["CMD", …]` or `["CMD-SHELL", …]`.
    pub test: Vec<String>,
    pub interval: Duration,
    pub timeout: Duration,
    pub retries: u32,
    pub start_period: Duration,
}

/// How the image is made; what is beside the Dockerfile in the context.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    pub args: BTreeMap<String, String>,
    /// `true`: lap's own binary is in the context as `lap`.
    pub with_lap: bool,
    /// A root file system made from Debian's packages is in the context as `rootfs.tar`.
    pub rootfs: Option<Rootfs>,
    /// The containers of this lab whose images the Dockerfile takes (`FROM` or `--from=`): built before this one.
    pub parents: BTreeSet<String>,
}

/// A root file system made by mmdebstrap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rootfs {
    /// e.g. `bookworm`
    pub suite: String,
    /// mmdebstrap's: `essential`, `apt`, `minbase`, …
    pub variant: String,
    pub packages: BTreeSet<String>,
    /// dpkg's `path-exclude` patterns: never unpacked, neither now nor with later packages.
    pub exclude: Vec<String>,
    /// dpkg's `path-include` patterns: unpacked although excluded.
    pub include: Vec<String>,
}

/// The zone of a lab that does not say another: reserved for private use (ICANN, 2024).
pub const ZONE: &str = "internal";
