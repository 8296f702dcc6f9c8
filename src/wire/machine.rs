//! What a machine is given when it becomes a node, and the files that both sides compare byte for byte.

use lap_base::{
    error::{Kind, OrError, Result},
    secret::{Secret, exposed},
};
use serde::{Deserialize, Serialize};

use super::protocol::NodeConfig;

/// What a machine needs to know to be a node.
#[derive(Serialize, Deserialize)]
pub struct NodeSetup {
    pub config: NodeConfig,
    #[serde(with = "exposed")]
    pub host_key: Secret,
    pub authorized_keys: String,
}

/// `node.json`, byte for byte: who asks whether a machine is prepared compares it.
///
/// # Errors
/// Never for what was read from a workspace.
pub fn config_text(config: &NodeConfig) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(config).or_error(Kind::Other, || "node.json".into())
}

pub fn docker_settings_text(config: &NodeConfig) -> String {
    let dns: Vec<&str> =
        std::iter::once(config.address.as_str()).chain(config.upstreams.iter().map(String::as_str)).collect();
    let settings = serde_json::json!({
        "dns": dns,
        "labels": [OURS],
        "log-driver": "json-file",
        "log-opts": { "max-file": "3", "max-size": "10m" },
    });
    format!("{settings:#}\n")
}

/// Docker's own settings, written only where there are none.
pub const DOCKER_SETTINGS: &str = "/etc/docker/daemon.json";

/// Whether lap wrote these settings.
pub fn is_ours(settings: &str) -> bool {
    settings.contains(OURS)
}

/// A label on the daemon itself, by which the file is known as lap's.
pub const OURS: &str = "lap.node=true";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_asks_the_environment_first() {
        let config = NodeConfig {
            lab: "a".into(),
            node: "b".into(),
            environment: "test".into(),
            address: "192.168.0.10".into(),
            disk: 1,
            upstreams: vec!["9.9.9.9".into()],
            sshd: None,
            device: None,
            filesystem: None,
        };
        let text = docker_settings_text(&config);
        assert!(text.contains(OURS));
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["dns"], serde_json::json!(["192.168.0.10", "9.9.9.9"]));
    }
}
