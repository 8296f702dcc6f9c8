//! The repositories of a lab at one location:
//!
//! ```text
//! <location>/env-<environment>   an environment's copies; its node gets the key of this repository only
//! <location>/lab                 the workspace and the sealed keys; no node ever gets its key
//! <location>                     the layout of earlier versions: one repository, open to every node that copied to it
//! ```
//!
//! The names differ from restic's (`data`, `index`, `keys`, …), so the new repositories can be inside a shared one.

/// One of these repositories.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RepositoryScope {
    Lab,
    Environment(String),
    /// The repository that all environments share.
    Shared,
}

const LAB: &str = "lab";
const ENVIRONMENT: &str = "env-";

impl RepositoryScope {
    /// Returns the directory at the location, or `None` for the location itself.
    pub fn directory(&self) -> Option<String> {
        match self {
            Self::Lab => Some(LAB.to_owned()),
            Self::Environment(name) => Some(format!("{ENVIRONMENT}{name}")),
            Self::Shared => None,
        }
    }

    /// Returns the name for messages. `place` is the name of the location.
    pub fn name(&self, place: &str) -> String {
        self.directory().map_or_else(|| place.to_owned(), |directory| format!("{place}/{directory}"))
    }
}

/// Returns whether `name` is the name of a repository directory in this layout.
pub(super) fn is_repository_directory(name: &str) -> bool {
    name == LAB || name.strip_prefix(ENVIRONMENT).is_some_and(lap_base::label::is_label)
}
