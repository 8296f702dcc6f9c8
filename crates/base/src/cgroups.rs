//! Which control groups this machine has.

use std::path::Path;

/// Where control groups are mounted.
pub const CGROUPS: &str = "/sys/fs/cgroup";

/// Which control groups the machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cgroups {
    /// One directory a controller (v1, or hybrid).
    V1,
    /// One tree.
    V2,
}

/// Looks at `/sys/fs/cgroup`.
pub fn cgroups() -> Cgroups {
    if Path::new(CGROUPS).join("cgroup.controllers").exists() { Cgroups::V2 } else { Cgroups::V1 }
}
