//! The commit of a workspace.

/// The state of a workspace in git.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The full id; `None` without a repository, or without a commit in it.
    pub id: Option<String>,
    /// Files that define the lab differ from the commit.
    pub dirty: bool,
}

/// What defines a lab; other changes do not make its images dirty.
pub(super) const DEFINES: [&str; 4] = ["lap.toml", "nodes", "containers", "env"];

/// No repository, or no commit in it.
pub(super) const NONE: Commit = Commit { id: None, dirty: true };

impl Commit {
    /// How images are named: `<id>`, `<id>-dirty-<hash>` or `none-<hash>`; `hash` is over everything that was read.
    pub fn name(&self, hash: &str) -> String {
        let hash = &hash[..hash.len().min(12)];
        match &self.id {
            Some(id) if !self.dirty => id.clone(),
            Some(id) => format!("{id}-dirty-{hash}"),
            None => format!("none-{hash}"),
        }
    }
}
