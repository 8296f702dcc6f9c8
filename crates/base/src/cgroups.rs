//! The version of control groups on this machine.

use std::path::Path;

/// The mount point of control groups.
pub const CGROUPS: &str = "/sys/fs/cgroup";

/// The version of control groups (cgroups(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cgroups {
    /// One hierarchy for each controller (v1, or hybrid).
    V1,
    /// One hierarchy for all controllers.
    V2,
}

/// Returns the version of the control groups that are mounted at [`CGROUPS`].
pub fn cgroups() -> Cgroups {
    if Path::new(CGROUPS).join("cgroup.controllers").exists() { Cgroups::V2 } else { Cgroups::V1 }
}
