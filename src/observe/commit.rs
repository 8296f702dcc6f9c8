//! Which commit the workspace is at, and whether its files are that commit's.

use std::path::{Path, PathBuf};

use git2::{Repository, StatusOptions};

/// The state of a workspace in git.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The full id; `None` without a repository, or without a commit in it.
    pub id: Option<String>,
    /// Files that define the lab differ from the commit.
    pub dirty: bool,
}

/// What defines a lab; other changes do not make its images dirty.
const DEFINES: [&str; 4] = ["lap.toml", "nodes", "containers", "env"];

/// Looks. A repository that cannot be read counts as none.
pub fn look(root: &Path) -> Commit {
    let none = Commit { id: None, dirty: true };
    let Ok(repository) = Repository::discover(root) else { return none };
    let Some(id) = repository.head().ok().and_then(|head| head.peel_to_commit().ok()).map(|c| c.id().to_string())
    else {
        return none;
    };
    let inside = below(&repository, root);
    let mut options = StatusOptions::new();
    options.include_untracked(true).recurse_untracked_dirs(true).include_ignored(false);
    for name in DEFINES {
        options.pathspec(inside.join(name));
    }
    let dirty = repository.statuses(Some(&mut options)).map_or(true, |statuses| !statuses.is_empty());
    Commit { id: Some(id), dirty }
}

/// Where the workspace is in its repository: it may be a directory in a larger one.
pub fn inside(root: &Path) -> PathBuf {
    Repository::discover(root).map(|repository| below(&repository, root)).unwrap_or_default()
}

fn below(repository: &Repository, root: &Path) -> PathBuf {
    let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    repository
        .workdir()
        .and_then(|work| canonical(root).strip_prefix(canonical(work)).ok().map(Path::to_path_buf))
        .unwrap_or_default()
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_dirty_and_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look(dir.path()), Commit { id: None, dirty: true });
        let repository = Repository::init(dir.path()).unwrap();
        std::fs::write(dir.path().join("lap.toml"), "lab = \"x\"\n").unwrap();
        let mut index = repository.index().unwrap();
        index.add_path(Path::new("lap.toml")).unwrap();
        let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
        index.write().unwrap();
        let who = git2::Signature::now("anna", "anna@internal").unwrap();
        let id = repository.commit(Some("HEAD"), &who, &who, "first", &tree, &[]).unwrap().to_string();
        let clean = look(dir.path());
        assert_eq!(clean, Commit { id: Some(id.clone()), dirty: false });
        assert_eq!(clean.name("abc"), id);
        std::fs::write(dir.path().join("notes.txt"), "no part of the lab").unwrap();
        assert!(!look(dir.path()).dirty);
        std::fs::create_dir(dir.path().join("nodes")).unwrap();
        std::fs::write(dir.path().join("nodes/x"), "new").unwrap();
        let dirty = look(dir.path());
        assert!(dirty.dirty);
        assert_eq!(dirty.name("0123456789abcdef"), format!("{id}-dirty-0123456789ab"));
    }
}
