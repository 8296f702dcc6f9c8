//! The node's own configuration.

use std::fs;

use lap_base::error::{Error, Kind, OrError, Result};

use crate::wire::{paths, protocol::NodeConfig};

/// Who this node is.
///
/// # Errors
/// Nobody has said, or the file is damaged.
pub fn read_config() -> Result<NodeConfig> {
    let text = fs::read(paths::CONFIG).or_error(Kind::Node, || format!("cannot read `{}`", paths::CONFIG))?;
    serde_json::from_slice(&text).map_err(|error| {
        Error::new(Kind::Node, format!("`{}` is damaged: {error}", paths::CONFIG)).hint("run `lap up` again")
    })
}

/// The address of a container, as an operator types it on another machine. Without a readable configuration it is the container's name alone.
pub fn address(container: &str) -> String {
    address_in(read_config().ok().as_ref(), container)
}

fn address_in(config: Option<&NodeConfig>, container: &str) -> String {
    config.map_or_else(|| container.to_owned(), |config| format!("{}/{container}", config.environment))
}

/// The command that shows the state of this node's environment.
pub fn status() -> String {
    read_config().map_or_else(|_| "lap status".to_owned(), |config| format!("lap status {}", config.environment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_names_the_container_with_its_environment() {
        let config =
            r#"{ "lab": "l", "node": "n", "environment": "prod", "address": "10.9.0.10", "disk": 1, "upstreams": [] }"#;
        let config: NodeConfig = serde_json::from_str(config).unwrap();
        assert_eq!(address_in(Some(&config), "git"), "prod/git");
        assert_eq!(address_in(None, "git"), "git");
    }
}
