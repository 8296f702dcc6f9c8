//! The lab's own repository in the environment's git: its branch says what runs there. A promotion brings the commit before it
//! switches, and the switch moves the branch.

use std::{io::Write, path::Path};

use git2::{Oid, Repository, Sort};

use super::Planned;
use crate::{
    agent::{
        client::Held,
        protocol::{Answer, NodeFacts, Request},
        push::{BRANCH, REPOSITORY},
    },
    apply::{
        snapshot::unexpected,
        up::{Master, Options, short},
    },
    error::{Error, Kind, OrError, Result},
    plan::{containers::GIT, wish::Current},
    release::GitMove,
    report::bytes,
};

/// Where the branch is and, of a commit, whether it is there; `None`: no git runs there.
async fn look(master: &Master, facts: &NodeFacts, wanted: &str) -> Result<Option<(Option<String>, bool)>> {
    if !facts.containers.iter().any(|fact| fact.name == GIT && fact.state == "running") {
        return Ok(None);
    }
    let wanted = Some(wanted.to_owned());
    let request = Request::Branch { repository: REPOSITORY.into(), branch: BRANCH.into(), wanted };
    match master.client.ask(&request, &[]).await? {
        Answer::Branch { at, has } => Ok(Some((at, has))),
        other => Err(unexpected(&other)),
    }
}

/// Fetches a commit that this repository does not have from the git of the environment it was tested in: somebody else pushed it.
///
/// # Errors
/// It is not there either, or cannot be written here.
pub async fn fetch(source: &Master, facts: &NodeFacts, root: &Path, commit: &str, options: &Options) -> Result<()> {
    let Ok(here) = Repository::discover(root) else { return Ok(()) };
    if here.find_commit(id(commit)?).is_ok() {
        return Ok(());
    }
    let name = &source.environment.name;
    if !matches!(look(source, facts, commit).await?, Some((_, true))) {
        let message = format!("`{name}` runs {}, which neither this repository nor its git has", short(commit));
        return Err(Error::new(Kind::Refused, message).hint("`git fetch` it from whoever brought it up"));
    }
    options.events.note(format!("  fetch {} from `{name}`", short(commit)));
    let pack = source.client.objects(REPOSITORY, commit).await?;
    let what = || format!("cannot keep {} here", short(commit));
    let odb = here.odb().or_error(Kind::Other, what)?;
    let mut writer = odb.packwriter().or_error(Kind::Other, what)?;
    writer.write_all(&pack).or_error(Kind::Other, what)?;
    writer.commit().or_error(Kind::Other, what)?;
    Ok(())
}

/// What a promotion does to the branch: forward only.
///
/// # Errors
/// The commit is no descendant of what the branch is at.
pub async fn forward(master: &Master, facts: &NodeFacts, root: &Path, commit: &str) -> Result<Option<GitMove>> {
    let Some((at, _)) = look(master, facts, commit).await? else { return Ok(None) };
    if at.as_deref() == Some(commit) {
        return Ok(None);
    }
    if let Some(at) = &at {
        let name = &master.environment.name;
        let here = open(root)?;
        let (old, new) = (id(at)?, id(commit)?);
        if here.find_commit(old).is_err() {
            let message = format!(
                "`{BRANCH}` of `{REPOSITORY}` on `{name}` is at {}, which is not in this repository",
                short(at)
            );
            return Err(Error::new(Kind::Refused, message).hint(format!(
                "fetch it from `{name}`: somebody promoted or pushed what this repository does not have"
            )));
        }
        if !here.graph_descendant_of(new, old).or_error(Kind::Other, || "cannot read the repository".into())? {
            let message = format!(
                "{} does not follow {}, which `{name}` has: promoting it would lose commits",
                short(commit),
                short(at)
            );
            return Err(Error::new(Kind::Refused, message)
                .hint("merge or rebase, have it built and checked on the other environment, and promote that"));
        }
    }
    Ok(Some(GitMove { repository: REPOSITORY.into(), branch: BRANCH.into(), old: at, new: commit.into(), keep: None }))
}

/// What a roll-back does to it: back to what runs then; what was there stays under a name of its own.
///
/// # Errors
/// The agent does not say.
pub async fn back(master: &Master, facts: &NodeFacts, target: &Current, now: u64) -> Result<Option<GitMove>> {
    let Some((Some(at), true)) = look(master, facts, &target.commit).await? else { return Ok(None) };
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
    if let Some((_, true)) = look(&planned.master, &planned.facts, &to.new).await? {
        return Ok(());
    }
    let pack = pack(&planned.master.workspace.lab.root, &to.new, to.old.as_deref())?;
    options.events.note(format!("  bring the commit {} ({})", short(&to.new), bytes(pack.len() as u64)));
    let repository = to.repository.clone();
    let request = Request::TakeObjects { fence: held.fence, repository, size: pack.len() as u64 };
    planned.master.client.ask(&request, &pack).await.map(|_| ())
}

/// All objects of a commit and its history, without those of `there`.
fn pack(root: &Path, commit: &str, there: Option<&str>) -> Result<Vec<u8>> {
    let what = || format!("cannot pack {}", short(commit));
    let repository = open(root)?;
    let mut walk = repository.revwalk().or_error(Kind::Other, what)?;
    walk.set_sorting(Sort::TOPOLOGICAL).or_error(Kind::Other, what)?;
    walk.push(id(commit)?).or_error(Kind::Other, what)?;
    if let Some(there) = there.map(id).transpose()?.filter(|there| repository.find_commit(*there).is_ok()) {
        walk.hide(there).or_error(Kind::Other, what)?;
    }
    let mut builder = repository.packbuilder().or_error(Kind::Other, what)?;
    builder.insert_walk(&mut walk).or_error(Kind::Other, what)?;
    let mut pack = git2::Buf::new();
    builder.write_buf(&mut pack).or_error(Kind::Other, what)?;
    Ok(pack.to_vec())
}

fn open(root: &Path) -> Result<Repository> {
    Repository::discover(root).or_error(Kind::Refused, || format!("`{}` is not in a git repository", root.display()))
}

fn id(text: &str) -> Result<Oid> {
    Oid::from_str(text).or_error(Kind::Other, || format!("`{text}` is not the id of a commit"))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

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
}
