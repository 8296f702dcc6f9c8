//! Moves the branch that says what runs.

use bollard::Docker;
use lap_base::error::{Error, Kind, Result};

use crate::{agent::git::git, release::GitMove};

/// What git takes for "does not exist" (git-update-ref(1)).
const NONE: &str = "0000000000000000000000000000000000000000";

/// Moves it from where it was when this was planned.
///
/// # Errors
/// Somebody moved it meanwhile, or git does not run.
pub async fn advance(docker: &Docker, to: &GitMove) -> Result<()> {
    // Data that was put back may have brought the branch along.
    let branch = format!("refs/heads/{}", to.branch);
    if git(docker, &to.repository, &["rev-parse", "--verify", "--quiet", &branch], &[]).await?.said == to.new {
        return Ok(());
    }
    if let (Some(keep), Some(old)) = (&to.keep, &to.old) {
        // Git's history is never rewound: what was there stays under a name.
        let kept = git(docker, &to.repository, &["update-ref", "-m", "lap", keep, old], &[]).await?;
        if !kept.passed {
            return Err(Error::new(Kind::Node, format!("cannot keep `{keep}` of `{}`: {}", to.repository, kept.said)));
        }
    }
    update(docker, to, &to.new, to.old.as_deref().unwrap_or(NONE)).await
}

/// Moves it back, if it is still where [`advance`] put it: what was pushed since then stays.
///
/// # Errors
/// Git does not run, or refuses.
pub async fn retreat(docker: &Docker, to: &GitMove) -> Result<()> {
    let branch = format!("refs/heads/{}", to.branch);
    let at = git(docker, &to.repository, &["rev-parse", "--verify", "--quiet", &branch], &[]).await?.said;
    if at != to.new {
        return Ok(());
    }
    match &to.old {
        Some(old) => update(docker, to, old, &to.new).await,
        None => update(docker, to, NONE, &to.new).await,
    }
}

async fn update(docker: &Docker, to: &GitMove, new: &str, old: &str) -> Result<()> {
    let branch = format!("refs/heads/{}", to.branch);
    let done = git(docker, &to.repository, &["update-ref", "-m", "lap", &branch, new, old], &[]).await?;
    if done.passed {
        return Ok(());
    }
    Err(Error::new(Kind::Refused, format!("cannot move `{}` of `{}`: {}", to.branch, to.repository, done.said))
        .hint("run the command again: another push may have changed it"))
}
