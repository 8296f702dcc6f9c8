//! A node whose agent answers: what a master and a builder have in common.

use std::time::Duration;

use lap_base::{
    error::{Error, Kind, Result},
    words::ago,
};

use super::{
    joining::{binary, ready},
    options::Options,
};
use crate::wire::{
    client::{AgentClient, Held},
    protocol::{Holder, NodeFacts, Request},
};

/// How an operation under the lock ended. A lost lock is the reason for whatever failed on the node.
///
/// # Errors
/// The operation failed, or the lock was lost.
pub fn with_end(result: Result<()>, ended: Result<()>) -> Result<()> {
    match (result, ended) {
        (Err(first), Err(lost)) if lost.kind == Kind::Locked && first.kind.is_of_node() => {
            Err(Error::new(Kind::Locked, format!("{lost}: {first}"))
                .hint("run the command again: it continues from the present state of the node"))
        }
        (result, ended) => result.and(ended),
    }
}

/// A node that is reached through its agent.
pub struct ConnectedNode {
    pub name: String,
    pub client: AgentClient,
}

impl ConnectedNode {
    /// Takes the node's lock.
    ///
    /// # Errors
    /// Another command holds it, and `options` do not say to wait.
    pub async fn lock(&self, options: &Options) -> Result<Held> {
        let (holder, busy) = (options.holder(), self.busy(options));
        let mut stop = options.stop.clone();
        tokio::select! {
            held = self.client.lock(holder, options.wait, busy) => held,
            _ = stop.wait_for(|stop| *stop) => Err(Error::new(Kind::Interrupted, "stopped; nothing changed")),
        }
    }

    /// Tells the operator which command holds the lock.
    pub fn busy(&self, options: &Options) -> impl FnOnce(&Holder, i64) + use<> {
        let (events, node) = (options.events.clone(), self.name.clone());
        move |holder, since| {
            let since = ago(lap_base::clock::now() - since);
            events.note(format!(
                "waiting for the lock of `{node}`: `{}` holds it for `lap {}`, since {since}",
                holder.who, holder.verb
            ));
        }
    }

    /// The agent's facts. With `options`, an agent of another build is replaced first.
    ///
    /// # Errors
    /// The agent does not answer; or another command holds the lock, and the agent must be replaced.
    pub async fn facts(&self, options: Option<&Options>) -> Result<NodeFacts> {
        let facts = self.client.facts().await?;
        let Some(options) = options.filter(|options| facts.build != crate::BUILD && !options.dry_run) else {
            return Ok(facts);
        };
        options.events.note(format!("  replacing the agent on `{}` with this build", self.name));
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
                    let message = format!("the agent on `{}` does not answer after its replacement", self.name);
                    return Err(Error::new(Kind::Node, message)
                        .hint("inspect the node with `lap ssh`; `lap stop` and `lap up` restart it"));
                }
                _ => {}
            }
        }
    }

    /// The facts as soon as the agent and Docker answer. An agent of another build is replaced first.
    ///
    /// # Errors
    /// They do not answer in time.
    pub async fn ready_facts(&self, options: &Options) -> Result<NodeFacts> {
        let facts = match self.facts(Some(options)).await {
            // An agent that was killed starts again in a moment.
            Err(error) if error.kind.is_of_node() => {
                ready(&self.client).await?;
                self.facts(Some(options)).await?
            }
            facts => facts?,
        };
        if facts.docker.is_some() {
            return Ok(facts);
        }
        ready(&self.client).await?;
        self.client.facts().await
    }
}
