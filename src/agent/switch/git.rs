//! Moves the branch that says what runs, through the git container's own git: its user, its locks, its hooks' rules for files.

use bollard::Docker;

use crate::{
    agent::health,
    error::{Error, Kind, Result},
    release::GitMove,
};

const CONTAINER: &str = "infra_git";
/// What git takes for "does not exist" (git-update-ref(1)).
const NONE: &str = "0000000000000000000000000000000000000000";

/// Moves it forward, from where it was when this was planned.
///
/// # Errors
/// Somebody moved it meanwhile, or git does not run.
pub async fn advance(docker: &Docker, to: &GitMove) -> Result<()> {
    update(docker, to, &to.new, to.old.as_deref().unwrap_or(NONE)).await
}

/// Moves it back, if it is still where [`advance`] put it: what somebody pushed since then stays.
pub async fn retreat(docker: &Docker, to: &GitMove) {
    if let Err(error) = update(docker, to, to.old.as_deref().unwrap_or(NONE), &to.new).await {
        eprintln!("agent: {error}");
    }
}

async fn update(docker: &Docker, to: &GitMove, new: &str, old: &str) -> Result<()> {
    let (repository, branch) =
        (format!("/data/repositories/{}.git", to.repository), format!("refs/heads/{}", to.branch));
    let command = ["git", "-C", &repository, "update-ref", "-m", "lap", &branch, new, old];
    let done = health::exec_as(docker, CONTAINER, Some("git"), command.map(str::to_owned).to_vec()).await?;
    if done.passed {
        return Ok(());
    }
    Err(Error::new(Kind::Refused, format!("cannot move `{}` of `{}`: {}", to.branch, to.repository, done.said))
        .hint("somebody may have pushed to it meanwhile: run the command again"))
}
