//! A master: its node's agent, and what is known to talk to it and to put things on it.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use lap_base::{
    error::{Error, Kind, Result},
    words::ago,
};

use super::{
    install::{Contents, PushFacts, no_keys},
    joining::{binary, ready},
    options::Options,
};
use crate::{
    config::model::Environment,
    drivers::{self, node::docker::HostFacts},
    keys::Keys,
    release::desired_state::DesiredState,
    wire::{
        client::{AgentClient, Held},
        protocol::{Holder, NodeFacts, Request},
    },
    workspace::Workspace,
};

/// A master that can be worked on.
pub struct Master {
    pub workspace: Arc<Workspace>,
    /// `None` on the node itself, which has what it was given and nothing to make more of it.
    pub keys: Option<Arc<Keys>>,
    pub environment: Environment,
    pub seen: PushFacts,
    pub client: AgentClient,
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
        let client = session.agent();
        let seen = PushFacts::new(&workspace, environment, addresses, subnet);
        Ok(Self { workspace, keys: Some(keys), environment: environment.clone(), seen, client })
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

    /// Takes the node's lock.
    ///
    /// # Errors
    /// Somebody has it, and it is not to be waited for.
    pub async fn lock(&self, options: &Options) -> Result<Held> {
        let (holder, busy) = (options.holder(), self.busy(options));
        let mut stop = options.stop.clone();
        tokio::select! {
            held = self.client.lock(holder, options.wait, busy) => held,
            _ = stop.wait_for(|stop| *stop) => Err(Error::new(Kind::Interrupted, "stopped; nothing changed")),
        }
    }

    /// Says who is waited for.
    pub fn busy(&self, options: &Options) -> impl FnOnce(&Holder, i64) + use<> {
        let (events, node) = (options.events.clone(), self.environment.master.clone());
        move |holder, since| {
            let since = ago(lap_base::clock::now() - since);
            events.note(format!(
                "waiting for the lock of `{node}`: `{}` holds it for `lap {}`, since {since}",
                holder.who, holder.verb
            ));
        }
    }

    /// The agent's facts; an agent of another build is replaced first.
    ///
    /// # Errors
    /// It does not answer, or somebody holds the lock while it is old.
    pub async fn facts(&self, options: Option<&Options>) -> Result<NodeFacts> {
        let facts = self.client.facts().await?;
        let Some(options) = options.filter(|options| facts.build != crate::BUILD && !options.dry_run) else {
            return Ok(facts);
        };
        options.events.note(format!("  replacing the agent on `{}` with this build", self.environment.master));
        let binary = binary()?;
        let request = Request::Upgrade { build: crate::BUILD.to_owned(), size: binary.len() as u64 };
        self.client.ask(&request, &binary).await?;
        let until = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            match self.client.facts().await {
                Ok(facts) if facts.build == crate::BUILD => {
                    ready(&self.client).await?;
                    return self.client.facts().await;
                }
                _ if tokio::time::Instant::now() > until => {
                    let message =
                        format!("the agent on `{}` does not answer after its replacement", self.environment.master);
                    return Err(Error::new(Kind::Node, message)
                        .hint("inspect the node with `lap ssh`; `lap stop` and `lap up` restart it"));
                }
                _ => {}
            }
        }
    }
}
