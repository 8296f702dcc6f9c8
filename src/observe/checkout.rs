//! A commit as a workspace: its files in a temporary directory that git takes for a clean checkout of that commit.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use git2::{Indexer, Oid, Repository, build::CheckoutBuilder};
use lap_base::error::{Error, Kind, OrError, Result};
use tempfile::TempDir;

/// The files of a commit, as long as this lives.
pub struct Checkout {
    /// Where the workspace is: for [`crate::config::load`].
    pub root: PathBuf,
    _dir: TempDir,
}

/// Puts the files of `commit` (a full id) into a new directory below `parent`. `repository` is a bare repository or any
/// directory of a work tree; `inside` leads from the repository's root to the workspace.
///
/// The repository itself is not opened, only its objects are read: it may belong to another user.
///
/// # Errors
/// There is no such commit, or its files cannot be written.
pub fn checkout(repository: &Path, commit: &str, inside: &Path, parent: &Path) -> Result<Checkout> {
    let what = || format!("cannot check out `{commit}` of `{}`", repository.display());
    let objects = objects(repository)?;
    let (dir, here) = empty(parent).or_error(Kind::Other, what)?;
    here.odb().and_then(|odb| odb.add_disk_alternate(&objects.to_string_lossy())).or_error(Kind::Other, what)?;
    // For whoever opens it after us; a line is a path.
    let info = here.path().join("objects/info");
    std::fs::create_dir_all(&info).or_error(Kind::Other, what)?;
    std::fs::write(info.join("alternates"), format!("{}\n", objects.display())).or_error(Kind::Other, what)?;
    let there = here.find_commit(id(commit)?).is_ok();
    if !there {
        return Err(Error::new(Kind::Usage, format!("`{}` has no commit `{commit}`", repository.display())));
    }
    fill(dir, &here, commit, inside, what)
}

fn id(commit: &str) -> Result<Oid> {
    Oid::from_str(commit).or_error(Kind::Usage, || format!("`{commit}` is not the id of a commit"))
}

/// The same of a pack that holds the commit, as it is sent; the history need not be in it. Each object is what its id says.
///
/// # Errors
/// It is no such pack, or the files cannot be written.
pub fn unpack(pack: &[u8], commit: &str, parent: &Path) -> Result<Checkout> {
    let what = || format!("cannot check out `{commit}`");
    let (dir, here) = empty(parent).or_error(Kind::Other, what)?;
    let indexed = || -> Result<(), git2::Error> {
        let (odb, packs) = (here.odb()?, here.path().join("objects/pack"));
        let mut indexer = Indexer::new(Some(&odb), &packs, 0o444, false)?;
        indexer.write_all(pack).map_err(|error| git2::Error::from_str(&error.to_string()))?;
        indexer.commit()?;
        odb.refresh()
    };
    indexed().or_error(Kind::Node, what)?;
    // Its parents are not here.
    std::fs::write(here.path().join("shallow"), format!("{commit}\n")).or_error(Kind::Other, what)?;
    fill(dir, &here, commit, Path::new(""), what)
}

fn empty(parent: &Path) -> std::io::Result<(TempDir, Repository)> {
    let dir = tempfile::Builder::new().prefix("lap-checkout-").tempdir_in(parent)?;
    let here = Repository::init(dir.path()).map_err(std::io::Error::other)?;
    Ok((dir, here))
}

fn fill(
    dir: TempDir,
    here: &Repository,
    commit: &str,
    inside: &Path,
    what: impl Fn() -> String + Copy,
) -> Result<Checkout> {
    // The same files everywhere, whatever this machine's git is told about ends of lines.
    here.config().and_then(|mut config| config.set_bool("core.autocrlf", false)).or_error(Kind::Other, what)?;
    here.set_head_detached(id(commit)?).or_error(Kind::Other, what)?;
    here.checkout_head(Some(CheckoutBuilder::new().force())).or_error(Kind::Other, what)?;
    let root = dir.path().join(inside);
    // A link in the commit must not lead to files that are not the commit's.
    let real = |path: &Path| path.canonicalize().or_error(Kind::Usage, what);
    if root.exists() && real(&root)? != real(dir.path())?.join(inside) {
        let message = format!("in `{commit}`, `{}` is a link: put the directory there", inside.display());
        return Err(Error::new(Kind::Config, message));
    }
    Ok(Checkout { root, _dir: dir })
}

/// Where the objects of a repository are.
fn objects(repository: &Path) -> Result<PathBuf> {
    let bare = repository.join("objects");
    if bare.is_dir() && repository.join("HEAD").exists() {
        return Ok(bare);
    }
    let found = Repository::discover(repository);
    let found = found.or_error(Kind::Usage, || format!("`{}` is not in a git repository", repository.display()))?;
    // Of a linked work tree, those of the repository it belongs to.
    Ok(found.commondir().join("objects"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::commit, *};
    use crate::observe::commit::id;

    /// Commits all there is; gives its id.
    fn commit_all(repository: &Repository) -> String {
        let mut index = repository.index().unwrap();
        index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
        let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
        index.write().unwrap();
        let who = git2::Signature::now("anna", "anna@internal").unwrap();
        let parent = repository.head().ok().and_then(|head| head.peel_to_commit().ok());
        repository.commit(Some("HEAD"), &who, &who, "x", &tree, &parent.iter().collect::<Vec<_>>()).unwrap().to_string()
    }

    #[test]
    fn is_clean_and_that_commit() {
        let (dir, parent) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let repository = Repository::init(dir.path()).unwrap();
        fs::create_dir_all(dir.path().join("lab/containers/x")).unwrap();
        fs::write(dir.path().join("lab/lap.toml"), "lab = \"one\"\n").unwrap();
        let script = dir.path().join("lab/containers/x/run");
        fs::write(&script, "#!/bin/sh\r\n").unwrap();
        fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let first = commit_all(&repository);
        fs::write(dir.path().join("lab/lap.toml"), "lab = \"two\"\n").unwrap();
        let second = commit_all(&repository);
        let bare = dir.path().join(".git");
        for (from, id, text) in [
            (dir.path().join("lab").as_path(), &first, "one"),
            (dir.path(), &second, "two"),
            (bare.as_path(), &first, "one"),
        ] {
            let there = checkout(from, id, Path::new("lab"), parent.path()).unwrap();
            assert_eq!(commit::read_commit(&there.root).unwrap(), id::Commit { id: Some(id.clone()), dirty: false });
            let read = |name: &str| fs::read_to_string(there.root.join(name)).unwrap();
            assert_eq!(
                (read("lap.toml"), read("containers/x/run")),
                (format!("lab = \"{text}\"\n"), "#!/bin/sh\r\n".into())
            );
            let mode = fs::metadata(there.root.join("containers/x/run")).unwrap().permissions();
            assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o111, 0o111);
            fs::write(there.root.join("lap.toml"), "another").unwrap();
            assert!(commit::read_commit(&there.root).unwrap().dirty);
        }
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "gone with what it was for");
    }

    /// As git packs a shallow commit: without its parents.
    #[test]
    fn a_pack_without_history_is_enough() {
        let (dir, parent) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let repository = Repository::init(dir.path()).unwrap();
        fs::create_dir(dir.path().join("env")).unwrap();
        for text in ["one", "two"] {
            fs::write(dir.path().join("env/file"), text).unwrap();
            commit_all(&repository);
        }
        let last = repository.head().unwrap().peel_to_commit().unwrap();
        let mut pack = git2::Buf::new();
        let mut builder = repository.packbuilder().unwrap();
        builder.insert_object(last.id(), None).unwrap();
        builder.insert_tree(last.tree_id()).unwrap();
        builder.write_buf(&mut pack).unwrap();
        let id = last.id().to_string();
        let there = unpack(&pack, &id, parent.path()).unwrap();
        assert_eq!(fs::read_to_string(there.root.join("env/file")).unwrap(), "two");
        assert_eq!(commit::read_commit(&there.root).unwrap(), id::Commit { id: Some(id.clone()), dirty: false });
        assert!(unpack(&pack[..pack.len() - 1], &id, parent.path()).is_err(), "it is not whole");
        assert!(unpack(&pack, &last.parent_id(0).unwrap().to_string(), parent.path()).is_err(), "another commit");
    }

    #[test]
    fn a_link_in_the_commit_does_not_lead_out() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let repository = Repository::init(dir.path()).unwrap();
        fs::write(outside.path().join("lap.toml"), "lab = \"another\"\n").unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("lab")).unwrap();
        let id = commit_all(&repository);
        let error = checkout(dir.path(), &id, Path::new("lab"), outside.path()).err().unwrap();
        assert!(error.message.ends_with("`lab` is a link: put the directory there"), "{error}");
    }

    #[test]
    fn what_is_not_there_is_one_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let checkout = |id: &str| checkout(dir.path(), id, Path::new(""), dir.path()).err().unwrap();
        assert!(checkout("x").message.contains("is not in a git repository"));
        Repository::init(dir.path()).unwrap();
        let missing = "0123456789012345678901234567890123456789";
        assert!(checkout(missing).message.contains("has no commit"), "{:?}", checkout(missing));
        assert!(checkout("master").message.contains("`master` is not the id of a commit"));
    }
}
