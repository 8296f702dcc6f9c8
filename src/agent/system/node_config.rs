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
