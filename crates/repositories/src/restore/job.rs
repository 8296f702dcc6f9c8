//! One restore: the kind, the snapshot, and the repository.

use lap_base::{
    error::{Kind, OrError, Result},
    secret::{Secret, exposed},
};
use rustic_core::RestoreOptions;
use serde::{Deserialize, Serialize};

/// The kind of a restore. Each kind has its own rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestoreKind {
    /// A snapshot of a node, over existing files in the target.
    Snapshot,
    /// The workspace, into an empty directory.
    Workspace,
}

/// One restore.
#[derive(Debug, Serialize, Deserialize)]
pub struct RestoreJob {
    pub what: RestoreKind,
    /// The full id of the snapshot in restic.
    pub restic: String,
    /// The name of the repository, for messages.
    pub repository: String,
    /// The master key of the repository.
    #[serde(with = "exposed")]
    pub key: Secret,
}

/// Properties of each kind.
impl RestoreKind {
    /// Returns the path in the snapshot that is restored.
    pub fn place(self) -> &'static str {
        match self {
            Self::Snapshot => PLACE,
            Self::Workspace => WORKSPACE_PLACE,
        }
    }

    pub(super) fn options(self) -> Result<RestoreOptions> {
        let mut options = RestoreOptions::default();
        options.delete = true;
        match self {
            Self::Snapshot => {
                options.numeric_id = true;
                let sparse = serde_json::from_str("\"ByContent\"");
                options.sparse = Some(sparse.or_error(Kind::Other, || "an option".into())?);
            }
            // The user who recovers the lab becomes the owner.
            Self::Workspace => options.no_ownership = true,
        }
        Ok(options)
    }
}

/// The path of the workspace in its snapshot.
pub(crate) const WORKSPACE_PLACE: &str = "/lap-workspace";

/// The path of the data in a copy, whatever its path on the node is. The next copy uses it to find unchanged files.
pub(crate) const PLACE: &str = "/lap";
