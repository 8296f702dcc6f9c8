//! The lab's own repository in the environment's git: its branch says what runs there. A promotion brings the commit before it
//! switches, and the switch moves the branch.

use std::{io::Write, path::Path};

use git2::{Indexer, Oid, Repository, Sort};
use lap_base::{
    error::{Error, Kind, OrError, Result},
    words::bytes,
};

use super::{
    consent::commit::{full_id, open},
    planned::Planned,
};
use crate::{
    apply::{
        master::Master,
        options::{Options, short},
        responses::unexpected,
    },
    plan::containers::GIT,
    release::{GitMove, manifest::ReleaseManifest},
    wire::{
        client::Held,
        git::{BRANCH, REPOSITORY},
        protocol::{NodeFacts, Request, Response},
    },
};

/// Where the branch is and, of a commit, whether it is there; `None`: no git runs there.
async fn branch_state(master: &Master, facts: &NodeFacts, wanted: &str) -> Result<Option<(Option<String>, bool)>> {
    if !facts.containers.iter().any(|fact| fact.name == GIT && fact.state == "running") {
        return Ok(None);
    }
    let wanted = Some(wanted.to_owned());
    let request = Request::Branch { repository: REPOSITORY.into(), branch: BRANCH.into(), wanted };
    match master.node.client.ask(&request, &[]).await? {
        Response::Branch { at, has } => Ok(Some((at, has))),
        other => Err(unexpected(&other)),
    }
}

/// Fetches the objects of a commit that this clone does not have from the git of the environment it was tested in. No ref of the clone
/// moves: that its objects are here is no consent.
///
/// # Errors
/// It is not there either, or what came is not that commit and all that belongs to it.
pub async fn fetch(source: &Master, facts: &NodeFacts, root: &Path, commit: &str, options: &Options) -> Result<()> {
    let id = full_id(commit)?;
    if open(root)?.find_commit(id).is_ok() {
        return Ok(());
    }
    let name = &source.environment.name;
    if !matches!(branch_state(source, facts, commit).await?, Some((_, true))) {
        let message =
            format!("`{name}` runs {}, and neither this clone nor its git contains this commit", short(commit));
        return Err(
            Error::new(Kind::Refused, message).hint("fetch it with `git fetch` from the clone where `lap up` ran")
        );
    }
    options.events.note(format!("  fetch {} from `{name}`", short(commit)));
    let pack = source.node.client.objects(REPOSITORY, commit, false).await?;
    keep(root, id, &pack).map_err(|error| {
        Error::new(
            Kind::Refused,
            format!("what `{name}` sent is not the commit {}: {}", short(commit), error.message()),
        )
    })
}

/// Keeps what was sent, if each object is what its id says, the commit is among them, and nothing it stands on is missing.
fn keep(root: &Path, id: Oid, pack: &[u8]) -> Result<(), git2::Error> {
    let here = Repository::discover(root)?;
    let odb = here.odb()?;
    let dir = here.commondir().join("objects/pack");
    let mut indexer = Indexer::new(Some(&odb), &dir, 0o444, true)?;
    indexer.write_all(pack).map_err(|error| git2::Error::from_str(&error.to_string()))?;
    indexer.commit()?;
    odb.refresh()?;
    here.find_commit(id)?.tree().map(drop)
}

/// What a promotion does to the branch: forward only.
///
/// # Errors
/// The commit is no descendant of what the branch is at.
pub async fn forward(master: &Master, facts: &NodeFacts, root: &Path, commit: &str) -> Result<Option<GitMove>> {
    let Some((at, _)) = branch_state(master, facts, commit).await? else { return Ok(None) };
    if at.as_deref() == Some(commit) {
        return Ok(None);
    }
    if let Some(at) = &at {
        let name = &master.environment.name;
        let here = open(root)?;
        let (old, new) = (full_id(at)?, full_id(commit)?);
        if here.find_commit(old).is_err() {
            let message = format!(
                "`{BRANCH}` of `{REPOSITORY}` on `{name}` is at {}, and this repository does not contain that commit",
                short(at)
            );
            return Err(Error::new(Kind::Refused, message)
                .hint(format!("fetch it from `{name}`: another operator promoted or pushed it")));
        }
        if !here.graph_descendant_of(new, old).or_error(Kind::Other, || "cannot read the repository".into())? {
            let message = format!(
                "{} does not follow {}, which `{name}` has: promoting it would lose commits",
                short(commit),
                short(at)
            );
            return Err(Error::new(Kind::Refused, message)
                .hint("merge or rebase, test the result on the other environment, and promote it"));
        }
    }
    Ok(Some(GitMove { repository: REPOSITORY.into(), branch: BRANCH.into(), old: at, new: commit.into(), keep: None }))
}

/// What a roll-back does to it: back to what runs then; what was there stays under a name of its own.
///
/// # Errors
/// The agent does not say.
pub async fn back(master: &Master, facts: &NodeFacts, target: &ReleaseManifest, now: u64) -> Result<Option<GitMove>> {
    let Some((Some(at), true)) = branch_state(master, facts, &target.commit).await? else { return Ok(None) };
    if at == target.commit {
        return Ok(None);
    }
    let keep = Some(format!("refs/lap/before-rollback/{now}"));
    Ok(Some(GitMove {
        repository: REPOSITORY.into(),
        branch: BRANCH.into(),
        old: Some(at),
        new: target.commit.clone(),
        keep,
    }))
}

/// Brings what the branch is going to be at.
///
/// # Errors
/// The commit is not in this repository; git there does not take it.
pub async fn bring(planned: &Planned, held: &Held, options: &Options) -> Result<()> {
    let Some(to) = &planned.git else { return Ok(()) };
    if let Some((_, true)) = branch_state(&planned.master, &planned.facts, &to.new).await? {
        return Ok(());
    }
    let pack = pack(&planned.master.workspace.lab.root, &to.new, to.old.as_deref())?;
    options.events.note(format!("  send the commit {} ({})", short(&to.new), bytes(pack.len() as u64)));
    let repository = to.repository.clone();
    let request = Request::TakeObjects { fence: held.fence, repository, size: pack.len() as u64 };
    planned.master.node.client.ask(&request, &pack).await.map(|_| ())
}

/// All objects of a commit and its history, without those of `there`.
fn pack(root: &Path, commit: &str, there: Option<&str>) -> Result<Vec<u8>> {
    let what = || format!("cannot pack {}", short(commit));
    let repository = open(root)?;
    let mut walk = repository.revwalk().or_error(Kind::Other, what)?;
    walk.set_sorting(Sort::TOPOLOGICAL).or_error(Kind::Other, what)?;
    walk.push(full_id(commit)?).or_error(Kind::Other, what)?;
    if let Some(there) = there.map(full_id).transpose()?.filter(|there| repository.find_commit(*there).is_ok()) {
        walk.hide(there).or_error(Kind::Other, what)?;
    }
    let mut builder = repository.packbuilder().or_error(Kind::Other, what)?;
    builder.insert_walk(&mut walk).or_error(Kind::Other, what)?;
    let mut pack = git2::Buf::new();
    builder.write_buf(&mut pack).or_error(Kind::Other, what)?;
    Ok(pack.to_vec())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::apply::promote::consent::commit::full_id;

    fn git(dir: &Path, arguments: &[&str], input: &[u8]) -> String {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@internal"]).args(arguments).current_dir(dir);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {arguments:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Stock git takes what is packed, the second time only what is new.
    #[test]
    fn packs_are_whole_and_small() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (here, there) = (here.path(), there.path());
        git(here, &["init", "--quiet", "--initial-branch=master"], &[]);
        git(there, &["init", "--quiet", "--bare"], &[]);
        let commit = |name: &str, text: &[u8]| {
            std::fs::write(here.join(name), text).unwrap();
            git(here, &["add", "."], &[]);
            git(here, &["commit", "--quiet", "--message=x"], &[]);
            git(here, &["rev-parse", "HEAD"], &[])
        };
        let random: Vec<u8> = (0..100_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let first = commit("large", &random);
        let whole = pack(here, &first, None).unwrap();
        git(there, &["index-pack", "--stdin", "--strict", "--fix-thin"], &whole);
        git(there, &["rev-list", "--objects", "--quiet", &first], &[]);
        let second = commit("small", b"one line\n");
        let more = pack(here, &second, Some(&first)).unwrap();
        assert!(more.len() * 10 < whole.len(), "{} of {}", more.len(), whole.len());
        git(there, &["index-pack", "--stdin", "--strict", "--fix-thin"], &more);
        git(there, &["rev-list", "--objects", "--quiet", &second], &[]);
        git(there, &["update-ref", "refs/heads/master", &second], &[]);
        git(there, &["fsck", "--strict"], &[]);
    }
    /// Nothing but a whole commit is kept; what is missing or forged leaves the clone without it.
    #[test]
    fn only_the_commit_that_was_asked_for_is_kept() {
        let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (there, here) = (there.path(), here.path());
        git(there, &["init", "--quiet", "--initial-branch=master"], &[]);
        git(here, &["init", "--quiet"], &[]);
        let commit = |text: &str| {
            std::fs::write(there.join("file"), text).unwrap();
            git(there, &["add", "."], &[]);
            git(there, &["commit", "--quiet", "--message=x"], &[]);
            git(there, &["rev-parse", "HEAD"], &[])
        };
        let (first, second) = (commit("one"), commit("two"));
        let has = |id: &str| Repository::open(here).unwrap().find_commit(full_id(id).unwrap()).is_ok();
        let objects = |ids: &str| {
            let mut command = Command::new("git");
            command.args(["pack-objects", "--stdout", "--quiet"]).current_dir(there);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(ids.as_bytes()).unwrap();
            child.wait_with_output().unwrap().stdout
        };
        // The commit without its tree, another commit, bytes that are no pack.
        for pack in [objects(&format!("{second}\n")), pack(there, &first, None).unwrap(), b"PACK".to_vec()] {
            assert!(keep(here, full_id(&second).unwrap(), &pack).is_err());
            assert!(!has(&second));
        }
        keep(here, full_id(&second).unwrap(), &pack(there, &second, None).unwrap()).unwrap();
        assert!(has(&second) && has(&first));
        git(here, &["fsck", "--strict"], &[]);
    }
}
