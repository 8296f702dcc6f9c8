//! What an environment runs, as a release records it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::model::Container;

/// `state/current.json` on the master: what the environment runs, with all that is needed to start it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseManifest {
    pub commit: String,
    pub release: Option<u64>,
    pub env: String,
    /// Digest of all containers' `checks/`; empty: there are none.
    #[serde(default)]
    pub checks: String,
    pub containers: BTreeMap<String, Container>,
    pub images: BTreeMap<String, ImageSpec>,
    /// Who made it so, and when (unix seconds).
    pub by: String,
    pub at: i64,
}

impl ReleaseManifest {
    /// The TCP ports of a container on the node that others reach.
    pub fn tcp_ports(&self, container: &str) -> Vec<u16> {
        let ports = self.containers.get(container).into_iter().flat_map(|container| &container.ports);
        ports.filter(|port| port.is_public_tcp()).map(|port| port.host).collect()
    }
}

/// An image that is desired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSpec {
    /// Hash of everything it is built from: equal inputs, nothing to build.
    pub build: String,
    /// Containers of this workspace it stands on.
    pub parents: Vec<String>,
    /// `<registry>/infra/<commit>/<name>@sha256:…`, once it was pushed.
    pub reference: Option<String>,
}

/// The name of what runs: sha256 of what `state/current.json` says.
pub fn identity(current: Option<&ReleaseManifest>) -> String {
    current.map_or_else(String::new, |current| {
        hex::encode(Sha256::digest(serde_json::json!(current).to_string().as_bytes()))
    })
}
