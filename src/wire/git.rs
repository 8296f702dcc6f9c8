//! The lab's own repository in the environment's git.

/// The lab's own repository.
pub const REPOSITORY: &str = "lap";

/// What runs.
pub const BRANCH: &str = "master";
