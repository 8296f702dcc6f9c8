//! The workspace as it was at a commit.

use std::sync::Arc;

use lap_base::error::{Error, Result};

use super::options::short;
use crate::{
    observe::{
        checkout::{self, Checkout},
        commit,
    },
    workspace::Workspace,
};

/// The workspace as it was at a commit, and the directory it is in as long as it is needed.
///
/// # Errors
/// The commit is not in this workspace's repository, or it is no workspace.
pub fn checkout(workspace: &Arc<Workspace>, commit: &str) -> Result<(Arc<Workspace>, Option<Checkout>)> {
    let root = &workspace.lab.root;
    let head = commit::read_commit(root)?;
    if head.id.as_deref() == Some(commit) && !head.dirty {
        return Ok((workspace.clone(), None));
    }
    let (at, checkout) = fresh(workspace, commit)?;
    Ok((Arc::new(at), Some(checkout)))
}

/// The same, from git in any case.
///
/// # Errors
/// As [`checkout()`].
pub fn fresh(workspace: &Workspace, commit: &str) -> Result<(Workspace, Checkout)> {
    let root = &workspace.lab.root;
    let checkout =
        checkout::checkout(root, commit, &commit::inside(root)?, &tempfile::env::temp_dir()).map_err(|error| {
            error.hint(format!("fetch the commit {} with `git fetch`, and promote again", short(commit)))
        })?;
    let at = Workspace::at(&checkout.root, Some(&workspace.lab.name)).map_err(|error| {
        let message = format!("the commit {} cannot be used: {}", short(commit), error.message);
        Error { message, ..error }
    })?;
    Ok((at, checkout))
}
