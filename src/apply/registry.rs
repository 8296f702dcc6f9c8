//! An environment's registry, reached through its master's agent, and the port at which it takes images.

use std::{path::Path, sync::Arc};

use lap_base::{
    error::{Error, Kind, OrError, Result},
    secret::Secret,
};

use super::master::Master;
use crate::{
    config::{REGISTRY_PASSWORD, model::Container},
    keys::{Keys, UPLOAD_USER},
    plan::containers::REGISTRY,
    registry::RegistryClient,
    wire::{
        client::Dial,
        paths::{self, REGISTRY_WRITES_PORT},
    },
};

/// The name that every TLS server's certificate has, and the one by which a node reaches its own registry.
const SERVER: &str = "localhost";

/// How a registry takes images, as its definition says.
#[derive(Clone, Debug)]
pub enum Door {
    /// At the port for readers, from every client: a definition of an earlier lap, or one of the workspace's own.
    Open,
    /// At [`paths::REGISTRY_WRITES`], with this password of user `UPLOAD_USER`.
    Guarded(Secret),
}

impl Door {
    /// The door of this definition of a registry. On a node, lap has no keys, and the password lies with the container's secrets.
    ///
    /// # Errors
    /// The environment has no password.
    pub fn of(registry: Option<&Container>, keys: Option<&Keys>, environment: &str) -> Result<Self> {
        let guarded = registry.is_some_and(|container| {
            container.ports.iter().any(|port| port.node_only && port.host == REGISTRY_WRITES_PORT)
        });
        match keys {
            _ if !guarded => Ok(Self::Open),
            Some(keys) => Ok(Self::Guarded(keys.registry_password(environment)?.clone())),
            None => on_this_node().map(Self::Guarded),
        }
    }
}

fn on_this_node() -> Result<Secret> {
    let path = Path::new(paths::SECRETS).join(REGISTRY).join(REGISTRY_PASSWORD);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Secret::new(text.trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::new(
            Kind::Refused,
            "the password of the registry is not on the node, and only an operator can install it",
        )
        .hint("run `lap up` on an operator's machine, with this commit checked out")),
        Err(error) => Err(error).or_error(Kind::Node, || format!("cannot read `{}`", path.display())),
    }
}

impl Master {
    /// The registry of this environment, for reading.
    ///
    /// # Errors
    /// The environment has no keys.
    pub fn registry(&self) -> Result<RegistryClient> {
        self.client_of_registry(None, false)
    }

    /// The registry of this environment, which takes images at `door`. It is cut off when the lock with this number is lost.
    ///
    /// # Errors
    /// The environment has no keys.
    pub fn registry_to_write(&self, fence: u64, door: &Door) -> Result<RegistryClient> {
        match door {
            Door::Open => self.client_of_registry(Some(fence), false),
            Door::Guarded(password) => self.client_of_registry(Some(fence), true)?.with_login(UPLOAD_USER, password),
        }
    }

    fn client_of_registry(&self, fence: Option<u64>, write: bool) -> Result<RegistryClient> {
        let agent = self.node.client.clone();
        let dial: Dial = Arc::new(move || {
            let agent = agent.clone();
            Box::pin(async move { agent.registry(fence, write).await })
        });
        let name = &self.environment.name;
        RegistryClient::new(format!("the registry of `{name}`"), SERVER, self.keys()?.issuing_certificate(name)?, dial)
    }
}

#[cfg(test)]
mod tests {
    use lap_base::error::Kind;

    use super::*;
    use crate::config::model::{Port, Protocol};

    #[test]
    fn the_definition_decides_where_images_go() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::create(dir.path(), "office", "internal", &["test".into()]).unwrap().keys;
        let mut registry = Container::new(REGISTRY);
        let port = |host, node_only| Port { host, container: host, protocol: Protocol::Tcp, node_only };
        let door = |registry: &Container, environment: &str| Door::of(Some(registry), Some(&keys), environment);
        assert!(matches!(Door::of(None, Some(&keys), "test"), Ok(Door::Open)));
        // A port that every machine reaches is no door with a password.
        for ports in [vec![port(5000, false)], vec![port(5000, false), port(5001, false)], vec![port(5002, true)]] {
            registry.ports = ports;
            assert!(matches!(door(&registry, "test"), Ok(Door::Open)));
        }
        registry.ports = vec![port(5000, false), port(5001, true)];
        let Ok(Door::Guarded(password)) = door(&registry, "test") else { panic!("no password") };
        assert_eq!(&password, keys.registry_password("test").unwrap());
        assert_eq!(door(&registry, "prod").unwrap_err().kind, Kind::Keys);
    }

    /// The specification of a container is a hash of this text: the containers of an earlier lap stay as they are.
    #[test]
    fn ports_are_recorded_as_before() {
        let text = r#"{"host":5000,"container":5000,"protocol":"tcp"}"#;
        let port: Port = serde_json::from_str(text).unwrap();
        assert_eq!((port.node_only, serde_json::to_string(&port).unwrap().as_str()), (false, text));
        let node_only = Port { node_only: true, ..port };
        assert_eq!(serde_json::from_str::<Port>(&serde_json::to_string(&node_only).unwrap()).unwrap(), node_only);
    }
}
