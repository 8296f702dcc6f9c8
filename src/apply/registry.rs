//! An environment's registry, reached through its master's agent.

use std::sync::Arc;

use lap_base::error::Result;

use super::up::Master;
use crate::{registry::RegistryClient, wire::client::Dial};

/// The name that every TLS server's certificate has, and the one by which a node reaches its own registry.
const SERVER: &str = "localhost";

impl Master {
    /// The registry of this environment. With the number of a lock that is held it is cut off when the lock is lost; without one it
    /// is for reading only.
    ///
    /// # Errors
    /// The environment has no keys.
    pub fn registry(&self, fence: Option<u64>) -> Result<RegistryClient> {
        let agent = self.node.client.clone();
        let dial: Dial = Arc::new(move || {
            let agent = agent.clone();
            Box::pin(async move { agent.registry(fence).await })
        });
        let name = &self.environment.name;
        RegistryClient::new(format!("the registry of `{name}`"), SERVER, self.keys()?.issuing_certificate(name)?, dial)
    }
}
