//! The files of a release that are not in its data: those of its environment, and its checks. A node that was made anew has neither; they
//! are in the workspace, as it is now or as it was at the commit.

use std::sync::Arc;

use lap_base::error::Result;

use crate::{
    apply::checkout::checkout, observe::context::Context, release::manifest::ReleaseManifest, workspace::Workspace,
};

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Environment,
    Checks,
}

/// Those with this digest, as a tar archive; `None`: neither the workspace nor its commit has them.
///
/// # Errors
/// A file cannot be read.
pub fn find(
    workspace: &Arc<Workspace>,
    environment: &str,
    commit: &str,
    which: Which,
    digest: &str,
) -> Result<Option<Vec<u8>>> {
    if let Some(tar) = with_digest(workspace, environment, which, digest)? {
        return Ok(Some(tar));
    }
    // One that is not there any more, or is none.
    let Ok((at, _as_long_as_it_is_read)) = checkout(workspace, commit) else { return Ok(None) };
    with_digest(&at, environment, which, digest)
}

/// Whether what was recorded can be started on a node that has nothing but its data.
///
/// # Errors
/// A file cannot be read.
pub fn are_there(workspace: &Arc<Workspace>, environment: &str, current: &ReleaseManifest) -> Result<bool> {
    let find =
        |which, digest| -> Result<bool> { Ok(find(workspace, environment, &current.commit, which, digest)?.is_some()) };
    Ok(find(Which::Environment, &current.env)? && (current.checks.is_empty() || find(Which::Checks, &current.checks)?))
}

fn with_digest(workspace: &Workspace, environment: &str, which: Which, digest: &str) -> Result<Option<Vec<u8>>> {
    let lab = &workspace.lab;
    let context = match which {
        Which::Environment => Context::read(&lab.root.join("env").join(environment))?,
        Which::Checks => Context::checks(&lab.root.join("containers"), lab.containers.keys())?,
    };
    if context.digest() == digest { context.write_tar(Vec::new(), &[]).map(Some) } else { Ok(None) }
}
