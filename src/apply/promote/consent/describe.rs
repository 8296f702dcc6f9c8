//! What an operator is shown before the question: whose commit it is, what it changes, and every new line of the programs that lap would
//! run. All of it is text of others.

use std::path::Path;

use git2::{Commit, Diff, DiffFormat, DiffOptions, Oid, Patch, Repository, Tree};
use lap_base::{
    error::{Error, Kind, OrError, Result},
    words::{plain, plural},
};
use time::{OffsetDateTime, UtcOffset, macros::format_description};

use super::commit::{full_id, open};
use crate::apply::options::short;

/// So many files are listed.
const FILES: usize = 40;
/// Longer programs are not shown whole: nobody would read them here.
const LINES: usize = 5000;

/// Lines for a terminal: nothing in them can move its cursor.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The commit: id, author, date, subject, and which files differ.
    pub commit: Vec<String>,
    /// What is new in `scripts/promote/`; empty: nothing.
    pub hooks: Vec<String>,
}

/// Describes `commit` of the clone around `root`, compared with what `environment` runs. `inside` leads from the clone's root to the
/// workspace.
///
/// # Errors
/// The commit is not in the clone.
pub fn describe(
    root: &Path,
    commit: &str,
    environment: &str,
    runs: Option<&str>,
    inside: &Path,
) -> Result<Description> {
    let repository = open(root)?;
    let what = || format!("cannot read the commit {}", short(commit));
    let new = repository.find_commit(full_id(commit)?).or_error(Kind::Refused, what)?;
    let old = runs.and_then(|id| full_id(id).ok()).and_then(|id: Oid| repository.find_commit(id).ok());
    let mut lines = head(&new);
    let tree = new.tree().or_error(Kind::Refused, what)?;
    let before = old.as_ref().map(Commit::tree).transpose().or_error(Kind::Refused, what)?;
    match &before {
        Some(before) => {
            let diff = diff(&repository, Some(before), &tree, None)?;
            lines.push(format!("compared with what `{environment}` runs ({}):", short(runs.unwrap_or_default())));
            lines.extend(files(&diff).or_error(Kind::Refused, what)?);
        }
        None => lines.push(format!(
            "this clone does not contain the commit that `{environment}` runs: no comparison is possible"
        )),
    }
    let hooks = diff(&repository, before.as_ref(), &tree, Some(&inside.join(HOOKS_DIRECTORY)))?;
    Ok(Description { commit: lines, hooks: text(&hooks).or_error(Kind::Refused, what)? })
}

fn head(commit: &Commit<'_>) -> Vec<String> {
    let author = commit.author();
    let text = |bytes: &[u8]| plain(&String::from_utf8_lossy(bytes));
    let subject = commit.summary_bytes().unwrap_or_default();
    vec![
        format!("commit   {}", commit.id()),
        format!("author   {} <{}>", text(author.name_bytes()), text(author.email_bytes())),
        format!("date     {}", date(author.when())),
        format!("subject  {}", text(subject)),
    ]
}

fn date(when: git2::Time) -> String {
    let format =
        format_description!("[year]-[month]-[day] [hour]:[minute] [offset_hour sign:mandatory][offset_minute]");
    let offset = UtcOffset::from_whole_seconds(when.offset_minutes().saturating_mul(60)).unwrap_or(UtcOffset::UTC);
    let moment = OffsetDateTime::from_unix_timestamp(when.seconds()).ok().map(|moment| moment.to_offset(offset));
    moment.and_then(|moment| moment.format(&format).ok()).unwrap_or_else(|| format!("{} s", when.seconds()))
}

fn diff<'a>(
    repository: &'a Repository,
    old: Option<&Tree<'_>>,
    new: &Tree<'_>,
    below: Option<&Path>,
) -> Result<Diff<'a>> {
    let mut options = DiffOptions::new();
    // A byte that makes a program "binary" must not hide the rest of it.
    options.force_text(true).ignore_submodules(true).disable_pathspec_match(true);
    if let Some(below) = below {
        options.pathspec(below);
    }
    repository
        .diff_tree_to_tree(old, Some(new), Some(&mut options))
        .or_error(Kind::Refused, || "cannot compare two commits".into())
}

/// Each file that differs, with its lines.
fn files(diff: &Diff<'_>) -> Result<Vec<String>, git2::Error> {
    let mut lines = Vec::new();
    let count = diff.deltas().len();
    for (index, delta) in diff.deltas().enumerate().take(FILES) {
        let (_, more, less) = Patch::from_diff(diff, index)?.map_or(Ok((0, 0, 0)), |patch| patch.line_stats())?;
        lines.push(format!("  {} +{more} -{less}", name(&delta)));
    }
    if count == 0 {
        lines.push("  no file differs".into());
    } else if count > FILES {
        lines.push(format!("  and {} more", plural(count - FILES, "file")));
    }
    Ok(lines)
}

fn name(delta: &git2::DiffDelta<'_>) -> String {
    let path = delta.new_file().path_bytes().or_else(|| delta.old_file().path_bytes()).unwrap_or_default();
    plain(&String::from_utf8_lossy(path))
}

/// Every line that is new, in the place where it is.
fn text(diff: &Diff<'_>) -> Result<Vec<String>, git2::Error> {
    let (mut lines, mut left) = (Vec::new(), 0);
    diff.print(DiffFormat::Patch, |delta, _, line| {
        if line.origin() == 'F' {
            lines.push(format!("{} ({}):", name(&delta), mode(&delta)));
        }
        if matches!(line.origin(), '+' | '-' | ' ' | '<' | '>' | '=') {
            let content = String::from_utf8_lossy(line.content());
            for one in content.strip_suffix('\n').unwrap_or(&content).split('\n') {
                if lines.len() < LINES {
                    lines.push(format!("{} {}", line.origin(), plain(one)));
                } else {
                    left += 1;
                }
            }
        }
        true
    })?;
    if left > 0 {
        lines.push(format!("… and {}: run `git show` to see them", plural(left, "more line")));
    }
    Ok(lines)
}

/// What kind of file it is now.
fn mode(delta: &git2::DiffDelta<'_>) -> &'static str {
    match (delta.status(), delta.new_file().mode()) {
        (git2::Delta::Deleted, _) => "removed",
        (_, git2::FileMode::BlobExecutable) => "a program",
        (_, git2::FileMode::Link) => "a link",
        _ => "no program",
    }
}

/// The error for a commit that nobody agreed to.
pub fn not_agreed(commit: &str, from: &str) -> Error {
    Error::new(Kind::Refused, format!("this clone does not contain {}, which `{from}` runs", short(commit)))
        .hint("run `lap promote` on a terminal without `--yes`: it shows the commit and asks")
        .hint("`--yes` agrees only to a commit that `HEAD` or a branch of this clone contains, or that an operator's key signed")
}

/// Where they are in the workspace.
pub const HOOKS_DIRECTORY: &str = "scripts/promote";
