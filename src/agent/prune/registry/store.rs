//! Where the registry keeps its files.

use std::path::Path;

use lap_base::{beneath::Dir, error::Result};

use crate::registry::Digest;

/// No file that the registry writes beside layers is larger.
pub const SMALL: u64 = 16 << 20;

/// Where the registry keeps everything, below its directory on the node.
pub const STORE: &str = "docker/registry/v2";

/// `data` is the registry's directory on the node; `None`: there is no registry.
pub fn store(data: &Path) -> Result<Option<Dir>> {
    match Dir::find(data)? {
        Some(data) => data.dir(Path::new(STORE)),
        None => Ok(None),
    }
}

pub fn hex(digest: &str) -> Result<&str> {
    digest.parse::<Digest>()?;
    Ok(digest.trim_start_matches("sha256:"))
}
