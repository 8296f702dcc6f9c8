//! A master: its node's agent, and what is known to talk to it and to put things on it.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use lap_base::error::{Error, Kind, Result};

use super::{
    connected_node::ConnectedNode,
    install::{Contents, PushFacts, no_keys},
};
use crate::{
    config::model::Environment,
    drivers::{self, node::docker::HostFacts},
    keys::Keys,
    release::desired_state::DesiredState,
    workspace::Workspace,
};

/// A master that can be worked on.
pub struct Master {
    pub workspace: Arc<Workspace>,
    /// `None` on the node itself, which has what it was given and nothing to make more of it.
    pub keys: Option<Arc<Keys>>,
    pub environment: Environment,
    pub seen: PushFacts,
    pub node: ConnectedNode,
}

impl Master {
    /// Connects to the master of `environment`, whose node must run.
    ///
    /// # Errors
    /// It does not run, or does not answer.
    pub async fn connect(workspace: Arc<Workspace>, environment: &Environment, patience: Duration) -> Result<Self> {
        let host = drivers::node::observe(&workspace.lab).await?.facts;
        Self::connect_on(workspace, environment, &host, patience).await
    }

    /// The same, where this machine was looked at already.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_on(
        workspace: Arc<Workspace>,
        environment: &Environment,
        host: &HostFacts,
        patience: Duration,
    ) -> Result<Self> {
        let keys = Arc::new(workspace.keys()?);
        host.vm.known([&environment.master])?;
        match host.nodes.get(&environment.master) {
            Some(node) if node.running => {}
            state => {
                let is = state.map_or("is not made yet", |_| "does not run");
                return Err(Error::new(Kind::Node, format!("the node `{}` {is}", environment.master))
                    .hint(format!("`lap up {}` starts it", environment.name)));
            }
        }
        let (subnet, addresses) = workspace.addresses(host)?;
        let address = addresses.get(&environment.master).copied();
        let address = address.ok_or_else(|| Error::new(Kind::Config, "the master has no address"))?;
        let session = workspace.connect(&keys, &environment.master, address, patience).await?;
        let node = ConnectedNode { name: environment.master.clone(), client: session.agent() };
        let seen = PushFacts::new(&workspace, environment, addresses, subnet);
        Ok(Self { workspace, keys: Some(keys), environment: environment.clone(), seen, node })
    }

    /// The lab's keys.
    ///
    /// # Errors
    /// This is not an operator's machine.
    pub fn keys(&self) -> Result<&Keys> {
        self.keys.as_deref().ok_or_else(no_keys)
    }

    /// What is put on this master when it runs `desired`.
    pub fn contents<'a>(&'a self, desired: &'a DesiredState) -> Contents<'a> {
        Contents {
            workspace: &self.workspace,
            keys: self.keys.as_deref(),
            environment: &self.environment,
            seen: &self.seen,
            runs: desired.release.map(|_| &desired.containers),
        }
    }

    /// The master's own address.
    pub fn address(&self) -> Ipv4Addr {
        self.seen.nodes.get(&self.environment.master).copied().unwrap_or(Ipv4Addr::UNSPECIFIED)
    }
}
