//! The lab's own repository in the environment's git: where its branch is, and objects that come in. All of it is done by the git
//! container's own git, as its user: its locks, its checks, its rules for files.

use bollard::{Docker, container::LogOutput, exec::StartExecResults, models::ExecConfig};
use futures_util::StreamExt;
use lap_base::error::{Error, Kind, OrError, Result};
use tokio::io::AsyncWriteExt;

use super::docker::{
    self,
    health::{self, HealthResult},
};

/// The container that runs git.
pub const CONTAINER: &str = "infra_git";
/// Who owns the repositories in it.
pub const USER: &str = "git";

/// Where a repository is, in the container.
///
/// # Errors
/// It is not a name.
pub fn path(repository: &str) -> Result<String> {
    if !is_plain(repository) {
        return Err(Error::new(Kind::Usage, format!("`{repository}` is not a repository's name")));
    }
    Ok(format!("/data/repositories/{repository}.git"))
}

/// Letters, digits and hyphens: nothing that could mean something else in a path or on a command line.
fn is_plain(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
    name.bytes().all(plain) && name.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric())
}

/// Runs git in a repository.
pub async fn git(docker: &Docker, repository: &str, arguments: &[&str], input: &[u8]) -> Result<HealthResult> {
    let path = path(repository)?;
    let command: Vec<String> = ["git", "-C", &path].iter().chain(arguments).map(|&word| word.to_owned()).collect();
    health::exec_fed(docker, CONTAINER, USER, command, input).await
}

/// The commit a branch is at; `None`: there is no such branch, or repository.
///
/// # Errors
/// Git does not run.
pub async fn at(repository: &str, branch: &str) -> Result<Option<String>> {
    if !is_plain(branch) {
        return Err(Error::new(Kind::Usage, format!("`{branch}` is not a branch's name")));
    }
    let docker = docker::connect().await?;
    let name = format!("refs/heads/{branch}^{{commit}}");
    let said = git(&docker, repository, &["rev-parse", "--verify", "--quiet", &name], &[]).await?;
    Ok(said.passed.then_some(said.said))
}

/// Whether a repository has a commit and all that belongs to it.
///
/// # Errors
/// Git does not run.
pub async fn has(repository: &str, commit: &str) -> Result<bool> {
    if !is_plain(commit) {
        return Err(Error::new(Kind::Usage, format!("`{commit}` is not the id of a commit")));
    }
    let docker = docker::connect().await?;
    let said = git(&docker, repository, &["rev-list", "--objects", "--quiet", "--end-of-options", commit], &[]).await?;
    Ok(said.passed)
}

/// A pack of a commit and its history; `alone`: without the history.
///
/// # Errors
/// It is not there, or too much.
pub async fn give(repository: &str, commit: &str, alone: bool, limit: usize) -> Result<Vec<u8>> {
    if !is_plain(commit) {
        return Err(Error::new(Kind::Usage, format!("`{commit}` is not the id of a commit")));
    }
    let docker = docker::connect().await?;
    let path = path(repository)?;
    let command = ["git", "-C", &path, "pack-objects", "--revs", "--stdout", "--quiet"];
    let what = || format!("cannot pack {commit}");
    let config = ExecConfig {
        cmd: Some(command.map(str::to_owned).to_vec()),
        user: Some(USER.to_owned()),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..ExecConfig::default()
    };
    let exec = docker.create_exec(CONTAINER, config).await.or_error(Kind::Node, what)?;
    let (mut pack, mut said) = (Vec::new(), String::new());
    if let StartExecResults::Attached { mut output, mut input } =
        docker.start_exec(&exec.id, None).await.or_error(Kind::Node, what)?
    {
        // A shallow commit has no parents.
        let wanted = if alone { format!("--shallow {commit}\n{commit}\n") } else { format!("{commit}\n") };
        input.write_all(wanted.as_bytes()).await.or_error(Kind::Node, what)?;
        input.shutdown().await.or_error(Kind::Node, what)?;
        while let Some(chunk) = output.next().await {
            match chunk.or_error(Kind::Node, what)? {
                LogOutput::StdOut { message } => pack.extend_from_slice(&message),
                other => said.push_str(&other.to_string()),
            }
            if pack.len() > limit {
                return Err(Error::new(Kind::Refused, format!("{}: the commit is too large", what())));
            }
        }
    }
    let ended = docker.inspect_exec(&exec.id).await.or_error(Kind::Node, what)?;
    if ended.exit_code == Some(0) {
        return Ok(pack);
    }
    Err(Error::new(Kind::Node, format!("{}: {}", what(), said.trim())))
}

/// Takes a pack of objects into a repository, which is made if it is not there.
///
/// # Errors
/// The pack is damaged, or needs objects that are not there; the disk is full.
pub async fn take(repository: &str, pack: &[u8]) -> Result<()> {
    let docker = docker::connect().await?;
    if !git(&docker, repository, &["rev-parse", "--git-dir"], &[]).await?.passed {
        // As if the administrator had made it, so that gitolite knows whose it is.
        let command = ["env", "GL_USER=admin", "HOME=/data", "gitolite", "create", repository];
        let made = health::exec_as(&docker, CONTAINER, Some(USER), command.map(str::to_owned).to_vec()).await?;
        if !made.passed {
            return Err(Error::new(Kind::Node, format!("cannot make the repository `{repository}`: {}", made.said)));
        }
    }
    let taken = git(&docker, repository, &["index-pack", "--stdin", "--strict", "--fix-thin"], pack).await?;
    if taken.passed {
        return Ok(());
    }
    Err(Error::new(Kind::Node, format!("`{repository}` refuses the commit: {}", taken.said)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_become_paths() {
        assert_eq!(path("lap").unwrap(), "/data/repositories/lap.git");
        for bad in ["", "../lap", "-lap", "a b", "a/b", "lap.git"] {
            assert_eq!(path(bad).unwrap_err().kind, Kind::Usage, "{bad}");
        }
    }
}
