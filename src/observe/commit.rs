//! Which commit the workspace is at, and whether its files are that commit's. libgit2 is asked first; where it cannot open the repository,
//! the program `git` is, which knows more formats. Only where there is no repository, there is no commit.

pub mod id;
mod program;

use std::path::{Path, PathBuf};

use git2::{ErrorCode, Repository, StatusOptions};
use lap_base::error::{Error, Kind, Result};

use self::id::{Commit, DEFINES, NONE};

/// Looks.
///
/// # Errors
/// There is a repository, and neither libgit2 nor `git` can read it.
pub fn read_commit(root: &Path) -> Result<Commit> {
    if !is_in_repository(root) {
        return Ok(NONE);
    }
    by_library(root).or_else(|why| program::read_with_git(root).map_err(|said| unreadable(root, &why, said)))
}

/// Where the workspace is in its repository: it may be a directory in a larger one.
///
/// # Errors
/// As [`read_commit`].
pub fn inside(root: &Path) -> Result<PathBuf> {
    if !is_in_repository(root) {
        return Ok(PathBuf::new());
    }
    let found = Repository::discover(root).map(|repository| below(&repository, root));
    found.or_else(|why| program::inside(root).map_err(|said| unreadable(root, &why, said)))
}

/// Only names are looked at: a repository that cannot be opened is one.
fn is_in_repository(root: &Path) -> bool {
    let root = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
    root.ancestors().any(|dir| dir.join(".git").symlink_metadata().is_ok())
        || Repository::discover_path(&root, std::iter::empty::<&Path>()).is_ok()
}

fn by_library(root: &Path) -> std::result::Result<Commit, git2::Error> {
    let repository = Repository::discover(root)?;
    let head = match repository.head() {
        Ok(head) => head.peel_to_commit()?,
        Err(error) if error.code() == ErrorCode::UnbornBranch => return Ok(NONE),
        Err(error) => return Err(error),
    };
    let inside = below(&repository, root);
    let mut options = StatusOptions::new();
    options.include_untracked(true).recurse_untracked_dirs(true).include_ignored(false);
    for name in DEFINES {
        options.pathspec(inside.join(name));
    }
    let dirty = !repository.statuses(Some(&mut options))?.is_empty();
    Ok(Commit { id: Some(head.id().to_string()), dirty })
}

fn below(repository: &Repository, root: &Path) -> PathBuf {
    let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    repository
        .workdir()
        .and_then(|work| canonical(root).strip_prefix(canonical(work)).ok().map(Path::to_path_buf))
        .unwrap_or_default()
}

/// `said`: what the program `git` says, if it is there; it often names the way out itself.
fn unreadable(root: &Path, why: &git2::Error, said: Option<String>) -> Error {
    let owner = why.code() == ErrorCode::Owner;
    let said_or_why = said.clone().unwrap_or_else(|| why.message().to_owned());
    let message = format!("cannot read the git repository of `{}`: {said_or_why}", root.display());
    let error = Error::new(Kind::Config, message);
    match (said, owner) {
        (_, true) => {
            let top = root.ancestors().find(|dir| dir.join(".git").exists()).unwrap_or(root);
            error.hint(format!(
                "if you trust its owner, run `git config --global --add safe.directory {}`",
                top.canonicalize().unwrap_or_else(|_| top.to_path_buf()).display()
            ))
        }
        (None, false) => error.hint(
            "run `sudo apt-get install git`: lap uses the program `git` if its own library cannot read the repository",
        ),
        (Some(_), false) => error.hint("`git status` must work there"),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        id::{Commit, NONE},
        *,
    };

    #[test]
    fn clean_dirty_and_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_commit(dir.path()).unwrap(), NONE);
        let repository = Repository::init(dir.path()).unwrap();
        assert_eq!(read_commit(dir.path()).unwrap(), NONE, "no commit yet");
        std::fs::write(dir.path().join("lap.toml"), "lab = \"x\"\n").unwrap();
        let mut index = repository.index().unwrap();
        index.add_path(Path::new("lap.toml")).unwrap();
        let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
        index.write().unwrap();
        let who = git2::Signature::now("anna", "anna@internal").unwrap();
        let id = repository.commit(Some("HEAD"), &who, &who, "first", &tree, &[]).unwrap().to_string();
        let clean = read_commit(dir.path()).unwrap();
        assert_eq!(clean, Commit { id: Some(id.clone()), dirty: false });
        assert_eq!(clean.name("abc"), id);
        std::fs::write(dir.path().join("notes.txt"), "no part of the lab").unwrap();
        assert!(!read_commit(dir.path()).unwrap().dirty);
        std::fs::create_dir(dir.path().join("nodes")).unwrap();
        std::fs::write(dir.path().join("nodes/x"), "new").unwrap();
        let dirty = read_commit(dir.path()).unwrap();
        assert!(dirty.dirty);
        assert_eq!(dirty.name("0123456789abcdef"), format!("{id}-dirty-0123456789ab"));
    }

    fn git(dir: &Path, arguments: &[&str]) -> String {
        let output = std::process::Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@internal"])
            .args(arguments)
            .current_dir(dir)
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A repository with one commit of a workspace in the directory `lab`; gives the commit's id.
    fn committed(dir: &Path, init: &[&str]) -> String {
        git(dir, &[&["init", "--quiet"], init].concat());
        std::fs::create_dir(dir.join("lab")).unwrap();
        std::fs::write(dir.join("lab/lap.toml"), "lab = \"x\"\n").unwrap();
        git(dir, &["add", "."]);
        git(dir, &["commit", "--quiet", "--message=x"]);
        git(dir, &["rev-parse", "HEAD"])
    }

    /// Clean, then dirty, by whatever reads it.
    #[track_caller]
    fn is_at(lab: &Path, id: &str) {
        assert_eq!(read_commit(lab).unwrap(), Commit { id: Some(id.to_owned()), dirty: false });
        assert_eq!(inside(lab).unwrap(), Path::new("lab"));
        std::fs::write(lab.join("../notes.txt"), "no part of the lab").unwrap();
        assert!(!read_commit(lab).unwrap().dirty);
        std::fs::create_dir(lab.join("nodes")).unwrap();
        std::fs::write(lab.join("nodes/x"), "new").unwrap();
        assert!(read_commit(lab).unwrap().dirty);
    }

    #[test]
    fn repositories_that_the_library_cannot_open_are_read_by_git() {
        for init in [["--object-format=sha256"], ["--ref-format=reftable"]] {
            let dir = tempfile::tempdir().unwrap();
            let mut known = std::process::Command::new("git");
            // An older git does not know this format.
            if !known.args(["init", "--quiet"]).args(init).arg(dir.path()).output().unwrap().status.success() {
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            git(dir.path(), &["init", "--quiet", init[0]]);
            assert_eq!(read_commit(dir.path()).unwrap(), NONE, "{init:?}: no commit yet");
            let dir = tempfile::tempdir().unwrap();
            let id = committed(dir.path(), &init);
            is_at(&dir.path().join("lab"), &id);
        }
    }

    #[test]
    fn a_partial_clone_is_read() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let id = committed(from.path(), &[]);
        git(from.path(), &["config", "uploadpack.allowFilter", "true"]);
        let url = format!("file://{}", from.path().display());
        git(to.path(), &["clone", "--quiet", "--filter=blob:none", &url, "clone"]);
        is_at(&to.path().join("clone/lab"), &id);
    }

    #[test]
    fn a_repository_of_another_owner_is_refused_with_the_way_out() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        committed(dir.path(), &[]);
        for path in [dir.path().to_path_buf(), dir.path().join(".git")] {
            std::os::unix::fs::chown(path, Some(1234), Some(1234)).unwrap();
        }
        let error = read_commit(&dir.path().join("lab")).unwrap_err();
        assert!(error.message.contains("dubious ownership"), "{error}");
        let way_out =
            format!("git config --global --add safe.directory {}", dir.path().canonicalize().unwrap().display());
        assert!(error.hints.iter().any(|hint| hint.contains(&way_out)), "{:?}", error.hints);
        assert_eq!(error.kind, Kind::Config);
    }

    #[test]
    fn a_damaged_repository_is_not_none() {
        let dir = tempfile::tempdir().unwrap();
        let id = committed(dir.path(), &[]);
        let object = dir.path().join(".git/objects").join(&id[..2]).join(&id[2..]);
        std::fs::remove_file(object).unwrap();
        let error = read_commit(dir.path()).unwrap_err();
        assert!(error.message.starts_with("cannot read the git repository of"), "{error}");
        std::fs::remove_file(dir.path().join(".git/HEAD")).unwrap();
        assert!(read_commit(dir.path()).is_err(), "a `.git` without a HEAD is no missing repository");
    }
}
