//! The repositories of a lab at one location:
//!
//! ```text
//! <location>/env-<environment>   an environment's copies; its node gets the key of this one only
//! <location>/lab                 the workspace and the sealed keys; no node ever gets its key
//! <location>                     from before there were these: all of it, open to every node that copied there
//! ```
//!
//! The names are none of restic's (`data`, `index`, `keys`, …), so that the new ones can lie in a shared one.

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RepositoryScope {
    Lab,
    Environment(String),
    /// The one that all environments share.
    Shared,
}

const LAB: &str = "lab";
const ENVIRONMENT: &str = "env-";

impl RepositoryScope {
    /// Its directory at the location; `None`: the location itself.
    pub fn directory(&self) -> Option<String> {
        match self {
            Self::Lab => Some(LAB.to_owned()),
            Self::Environment(name) => Some(format!("{ENVIRONMENT}{name}")),
            Self::Shared => None,
        }
    }

    /// What it is called in messages, where the location is called `place`.
    pub fn name(&self, place: &str) -> String {
        self.directory().map_or_else(|| place.to_owned(), |directory| format!("{place}/{directory}"))
    }
}

/// Whether a directory of this name is a repository's of this layout.
pub(super) fn is_room(name: &str) -> bool {
    name == LAB || name.strip_prefix(ENVIRONMENT).is_some_and(lap_base::label::is_label)
}
