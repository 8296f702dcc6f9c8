//! The labels and name prefixes by which lap finds again what it made in Docker.

/// The label that says "this is lap's": the container's name without `infra_`.
pub const LABEL_CONTAINER: &str = "lap.container";

/// The label with the hash of an image's inputs.
pub const LABEL_BUILD: &str = "lap.build";

/// The label with the hash of the settings that a container was made from.
pub const LABEL_SPEC: &str = "lap.spec";

/// The label with the hash of the secrets it was started with.
pub const LABEL_SECRETS: &str = "lap.secrets";

/// The prefix of the name of a container that a switch keeps, so that it can be taken back.
pub const KEPT: &str = "lap_kept_";

/// The label of a check's container, so that what a killed agent left is found.
pub const LABEL_CHECK: &str = "lap.check";
