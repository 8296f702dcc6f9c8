//! Asks the program `git`, where it is installed. It is told to run nothing that the repository names, and to fetch nothing.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use super::id::{Commit, DEFINES, NONE};

/// What `git` said; `None`: it is not installed.
type GitMessage = Option<String>;

/// Which commit the workspace is at.
///
/// # Errors
/// `git` is not installed, or what it says.
pub fn read_with_git(root: &Path) -> Result<Commit, GitMessage> {
    if let Some(branch) = try_to(root, &["symbolic-ref", "--quiet", "HEAD"])?
        && try_to(root, &["show-ref", "--verify", "--quiet", &branch])?.is_none()
    {
        return Ok(NONE);
    }
    let id = must(root, &["rev-parse", "--verify", "HEAD^{commit}"])?;
    let status = ["status", "--porcelain", "--untracked-files=all", "--ignore-submodules=none", "--"];
    let changes = must(root, &[&status[..], &DEFINES].concat())?;
    Ok(Commit { id: Some(id), dirty: !changes.is_empty() })
}

/// Where the workspace is in its repository.
///
/// # Errors
/// As [`read_with_git`].
pub fn inside(root: &Path) -> Result<PathBuf, GitMessage> {
    must(root, &["rev-parse", "--show-prefix"]).map(|prefix| PathBuf::from(prefix.trim_end_matches('/')))
}

fn must(root: &Path, arguments: &[&str]) -> Result<String, GitMessage> {
    let output = run(root, arguments)?;
    if output.status.success() { Ok(line(&output.stdout)) } else { Err(Some(said(&output))) }
}

/// `None`: it ended with 1, which these commands do where there is no such thing.
fn try_to(root: &Path, arguments: &[&str]) -> Result<Option<String>, GitMessage> {
    let output = run(root, arguments)?;
    match output.status.code() {
        Some(0) => Ok(Some(line(&output.stdout))),
        Some(1) => Ok(None),
        _ => Err(Some(said(&output))),
    }
}

fn run(root: &Path, arguments: &[&str]) -> Result<Output, GitMessage> {
    let mut command = Command::new("git");
    command.arg("-C").arg(root).args(["-c", "core.fsmonitor=false", "-c", "core.quotePath=true"]).args(arguments);
    // Of a hook that called `lap`: they would mean another repository.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(name);
    }
    command.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_NO_LAZY_FETCH", "1").env("LC_ALL", "C");
    command.output().map_err(|_| None)
}

fn line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// The first line of what went wrong.
fn said(output: &Output) -> String {
    let text = line(&output.stderr);
    let first = text.lines().next().unwrap_or("`git` gives no reason");
    first.trim_start_matches("fatal: ").trim_start_matches("error: ").to_owned()
}
