//! Where things lie on a node. One place, because snapshots, restores and promotions all stand on it.

/// lap's own directory, outside `/data`: survives the node container in a volume of its own.
pub const HOME: &str = "/var/lib/lap";
/// Who this node is: [`super::protocol::NodeConfig`] as JSON, written by lap before the first start.
pub const CONFIG: &str = "/var/lib/lap/node.json";
/// The sparse image that holds the pool where there is no disk for it.
pub const POOL_IMAGE: &str = "/var/lib/lap/pool.img";
/// The btrfs pool with the subvolumes `data`, `state` and the directory `snapshots`.
pub const POOL: &str = "/var/lib/lap/pool";
/// The files that keep room for snapshots and restores when the pool is full.
pub const RESERVE: &str = "/var/lib/lap/pool/reserve";
/// All containers' data: the subvolume `data`, mounted.
pub const DATA: &str = "/data";
/// What must not go back when `/data` does: journal, lock, releases.
pub const STATE: &str = "/var/lib/lap/pool/state";
/// The DNS server's part of it: the mark below which no zone's serial may fall.
pub const DNS_STATE: &str = "/var/lib/lap/pool/state/dns";
/// Secrets, one directory a container, mounted file by file.
pub const SECRETS: &str = "/var/lib/lap/secrets";
/// `env/<name>` of the workspace, one directory a digest.
pub const ENV: &str = "/var/lib/lap/env";
/// What was brought for a switch and is not in its place yet.
pub const STAGED: &str = "/var/lib/lap/staged";
/// The containers' checks, one directory a digest, in it one a container.
pub const CHECKS: &str = "/var/lib/lap/checks";
/// The certificates that containers trust.
pub const TRUST: &str = "/var/lib/lap/trust";
/// The DNS server's static names.
pub const NAMES: &str = "/var/lib/lap/names";
/// What the agent does by itself: `snapshot.json`.
pub const POLICY: &str = "/var/lib/lap/policy";
/// Host key and authorized keys.
pub const SSH: &str = "/var/lib/lap/ssh";
/// Images that must be loadable before any registry runs; part of every snapshot.
pub const IMAGES: &str = "/data/.images";
/// The agent's socket.
pub const SOCKET: &str = "/run/lap/agent.sock";
/// Where the git container's hook finds the agent.
pub const PUSH: &str = "/var/lib/lap/push";
/// Docker's socket.
pub const DOCKER: &str = "/var/run/docker.sock";
/// This binary on a node.
pub const BINARY: &str = "/usr/local/bin/lap";
/// The node's own registry, as the node itself reaches it.
pub const REGISTRY: &str = "127.0.0.1:5000";

/// Where a node's own registry is, seen from that node.
pub const REGISTRY_ADDRESS: &str = "localhost:5000";

/// Whether an image has this digest from lap's own push: people may push the same image under a name of theirs, and remove it.
pub fn is_pushed_by_lap(digest: &str) -> bool {
    digest.strip_prefix(REGISTRY_ADDRESS).is_some_and(|path| path.starts_with("/infra/"))
}

/// The port at which a registry takes images, on the node's loopback address.
pub const REGISTRY_WRITES_PORT: u16 = 5001;
/// Where a registry takes images, seen from its node.
pub const REGISTRY_WRITES: &str = "127.0.0.1:5001";
