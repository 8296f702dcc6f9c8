//! What an interrupted prune left in the registry.

use std::path::{Path, PathBuf};

use lap_base::error::Result;

use super::registry;
use crate::wire::paths;

/// The registry's data; it need not be there.
pub fn registry_data() -> PathBuf {
    Path::new(paths::DATA).join("registry")
}

/// Puts back the layers that an interrupted prune had set aside: at the agent's start before anybody asks the registry, and until it is done.
///
/// # Errors
/// The disk says why.
pub fn recover() -> Result<()> {
    if is_pending() { registry::put_all_back(&registry_data()) } else { Ok(()) }
}

/// At the agent's start: [`recover`], and the same for what an earlier lap set aside in another place.
///
/// # Errors
/// The disk says why.
pub fn recover_at_start() -> Result<()> {
    recover().and(registry::take_over(&registry_data()))
}

/// Whether [`recover`] has something to do.
pub fn is_pending() -> bool {
    registry::is_set_aside(&registry_data())
}
