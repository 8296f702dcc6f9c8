//! One restore: what comes out of which repository.

use lap_base::{
    error::{Kind, OrError, Result},
    secret::{Secret, exposed},
};
use rustic_core::RestoreOptions;
use serde::{Deserialize, Serialize};

/// What comes out of a repository; each has its own rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestoreKind {
    /// A snapshot of a node, over what is in the target already.
    Snapshot,
    /// The workspace, into an empty directory.
    Workspace,
}

/// One restore.
#[derive(Debug, Serialize, Deserialize)]
pub struct RestoreJob {
    pub what: RestoreKind,
    /// The snapshot, as restic calls it, in full.
    pub restic: String,
    /// The repository, for messages.
    pub repository: String,
    /// The repository's master key.
    #[serde(with = "exposed")]
    pub key: Secret,
}

impl RestoreKind {
    /// Where it is in the snapshot.
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
            // The one who recovers is the owner.
            Self::Workspace => options.no_ownership = true,
        }
        Ok(options)
    }
}

/// Where the workspace is in its snapshot.
pub(crate) const WORKSPACE_PLACE: &str = "/lap-workspace";

/// Where the data is in a copy, whatever it is called on the node: by this the next copy finds what it can build on.
pub(crate) const PLACE: &str = "/lap";
