//! The commit in question, in the git repository of this workspace.

use git2::{Oid, Repository};
use lap_base::error::{Error, Kind, OrError, Result};

/// Where a commit is kept that an operator agreed to when lap asked: it survives `git gc`, and lap does not ask again.
pub(super) const AGREED: &str = "refs/lap/agreed/";

/// The clone that the workspace is in.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn open(root: &std::path::Path) -> Result<Repository> {
    Repository::discover(root).or_error(Kind::Refused, || format!("`{}` is not in a git repository", root.display()))
}

/// A commit by its whole id: libgit2 takes a shorter one for one that ends with zeros.
///
/// # Errors
/// It is not one.
pub fn full_id(text: &str) -> Result<Oid> {
    let is = text.len() == 40 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let id = if is { Oid::from_str(text).ok() } else { None };
    id.ok_or_else(|| Error::new(Kind::Refused, format!("{} is not the id of a commit", lap_base::words::shown(text))))
}
