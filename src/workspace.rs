//! One workspace, opened: its lab, its keys, this machine's Docker, and the way to its nodes.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use lap_base::{
    error::{Error, Kind, Result},
    upstreams,
};

use crate::{
    config::{
        self,
        model::{Environment, Lab, Node, Provider, Rootfs, Subnet},
        problem::guess,
    },
    drivers::{
        node::{docker::HostFacts, machine::SSHD},
        rootfs,
        site::Site,
        ssh,
        stock_ssh::{self, StockSsh},
    },
    keys::Keys,
    plan,
};

/// A workspace that was read and found right.
pub struct Workspace {
    pub lab: Lab,
    /// Where root file systems are kept; may be deleted at any time.
    pub cache: PathBuf,
}

impl Workspace {
    /// Opens the workspace around `start`. `lab` overrides the lab's name.
    ///
    /// # Errors
    /// There is none, or it has problems: all of them.
    pub fn open(start: &std::path::Path, lab: Option<&str>) -> Result<Self> {
        Self::at(&config::find(start)?, lab)
    }

    /// Opens the workspace in `root` itself: a checkout that has none must not lead to one in a directory above it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn at(root: &std::path::Path, lab: Option<&str>) -> Result<Self> {
        let lab = config::load(root, lab)?;
        Ok(Self { lab, cache: rootfs::cache_directory() })
    }

    /// The lab's keys.
    ///
    /// # Errors
    /// They are not here: with what to do.
    pub fn keys(&self) -> Result<Keys> {
        Keys::open(&self.lab.root)
    }

    /// The environment that is meant: the named one, or the default.
    ///
    /// # Errors
    /// There is no such environment: with those that are, and what may have been meant.
    pub fn environment(&self, name: Option<&str>) -> Result<&Environment> {
        let name = name.unwrap_or(&self.lab.default_environment);
        self.lab.environments.get(name).ok_or_else(|| {
            let known = self.lab.environments.keys().cloned().collect::<Vec<_>>().join("`, `");
            Error::new(Kind::Usage, format!("there is no environment `{name}`: the environments are `{known}`"))
                .hint(self.instead_of_environment(name))
        })
    }

    /// What may have been meant by a name that no environment has.
    pub fn instead_of_environment(&self, name: &str) -> String {
        if self.lab.containers.contains_key(name) {
            return format!(
                "`{name}` is a container: this takes an environment, e.g. `{}`",
                self.lab.default_environment
            );
        }
        if let Some(node) = self.lab.nodes.get(name) {
            return format!("`{name}` is a node: name its environment, `{}`", node.environment);
        }
        guess(name, self.lab.environments.keys().map(String::as_str))
            .unwrap_or_else(|| "an environment is a directory in `env/`: see `lap help env.toml`".to_owned())
    }

    /// The nodes of an environment.
    pub fn nodes<'a>(&'a self, environment: &'a str) -> impl Iterator<Item = &'a Node> {
        self.lab.nodes.values().filter(move |node| node.environment == environment)
    }

    /// The lab's subnet on this machine, and the address of every node.
    ///
    /// # Errors
    /// No subnet is free, or an address is not in it.
    pub fn addresses(&self, host: &HostFacts) -> Result<(Subnet, BTreeMap<String, Ipv4Addr>)> {
        let subnet = plan::nodes::subnet(&self.lab, host)?;
        let addresses = plan::addresses::addresses(&self.lab, &subnet, host)?;
        Ok((subnet, addresses))
    }

    /// Who an environment's server asks for names it does not know. After `lap dns install` this machine asks the lab's own
    /// servers (at `nodes`, or where they are published), and they must not ask each other.
    pub fn upstreams(&self, environment: &Environment, nodes: &BTreeMap<String, Ipv4Addr>) -> Vec<IpAddr> {
        if !environment.upstreams.is_empty() {
            return environment.upstreams.clone();
        }
        let published = self.lab.nodes.values().filter_map(|node| node.publish);
        let own: Vec<IpAddr> = nodes.values().copied().chain(published).map(IpAddr::from).collect();
        upstreams::upstreams().into_iter().filter(|address| !own.contains(address)).collect()
    }

    /// Identity of the nodes' root file system.
    pub fn rootfs_identity(&self) -> String {
        rootfs::identity(&self.lab.rootfs)
    }

    /// Root file systems of containers that are not in the cache.
    pub fn missing_rootfs(&self) -> BTreeMap<String, Rootfs> {
        let wished = self.lab.containers.iter().filter_map(|(name, c)| Some((name.clone(), c.build.rootfs.clone()?)));
        wished.filter(|(_, rootfs)| !rootfs::cached(&self.cache, rootfs).exists()).collect()
    }

    /// How an existing machine is reached; `None`: lap made it.
    ///
    /// # Errors
    /// The file with its host key cannot be written.
    pub fn stock_ssh(&self, node: &Node) -> Result<Option<StockSsh>> {
        let Some(ssh) = node.ssh.as_ref().filter(|_| node.provider == Provider::Ssh) else { return Ok(None) };
        let file = self.lab.root.join(".lap/pinned").join(&node.name);
        if let Some(key) = &ssh.host_key {
            stock_ssh::pin(&file, key)?;
        }
        Ok(Some(StockSsh {
            pinned: ssh.host_key.as_ref().map(|_| file),
            ..StockSsh::known(&node.name, &ssh.destination)
        }))
    }

    /// Where a node's sshd is, and through which machine it is reached: one that lap did not make is itself the way, and a virtual
    /// machine in a network of another host's own is reached from there.
    ///
    /// # Errors
    /// As [`Self::stock_ssh`].
    pub fn way(&self, node: &Node, address: Ipv4Addr) -> Result<(Option<StockSsh>, SocketAddr)> {
        if let Some(machine) = self.stock_ssh(node)? {
            return Ok((Some(machine), SSHD.into()));
        }
        let inside = node.provider == Provider::Vagrant && node.vm.bridge.is_none();
        let via = match Site::of(node.vm.host.as_deref()) {
            Site::There(host) if inside => Some(host),
            _ => None,
        };
        Ok((via, SocketAddr::from((address, Self::port(node)))))
    }

    /// The port of lap's sshd at a node's address.
    pub fn port(node: &Node) -> u16 {
        if node.is_foreign() { SSHD.1 } else { 22 }
    }

    /// Connects to a node.
    ///
    /// # Errors
    /// It does not answer within `patience`, or is not the one lap made.
    pub async fn connect(
        &self,
        keys: &Keys,
        node: &str,
        address: Ipv4Addr,
        patience: Duration,
    ) -> Result<ssh::Session> {
        let machine = self.lab.nodes.get(node);
        let way = machine.map(|machine| self.way(machine, address)).transpose()?;
        let (via, address) = way.unwrap_or((None, SocketAddr::from((address, 22))));
        let host_key = keys.host_key(node).map_err(|error| match machine {
            Some(machine) if machine.provider == Provider::Ssh => {
                error.hint(format!("run `lap node prepare {node}` if it is not prepared yet"))
            }
            _ => error,
        });
        let target = ssh::SshTarget {
            node: node.to_owned(),
            address,
            via,
            key: Arc::new(keys.admin().private().clone()),
            host_key: host_key?.public().clone(),
        };
        ssh::connect(&target, patience).await
    }
}
