//! Writes a new workspace: the very files of this repository, which are in the binary.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use lap_base::error::{Error, Kind, OrError, Result};

use super::value::name;

/// A file of this repository.
struct Template {
    /// Relative to the workspace.
    path: &'static str,
    bytes: &'static [u8],
    executable: bool,
}

include!(concat!(env!("OUT_DIR"), "/templates.rs"));

/// A file of this repository, by its path in a workspace.
pub fn template(path: &str) -> Option<&'static [u8]> {
    TEMPLATES.iter().find(|template| template.path == path).map(|template| template.bytes)
}

/// The line of the template `lap.toml` that becomes the new lab's name.
const LAB: &str = "lab = \"lap\"\n";

/// What must never get into git: keys and caches.
const IGNORED: &str = "/.lap";

/// Makes `dir` a workspace for the lab `lab` and gives the files that were written. What is there already stays as it
/// is; a directory that is in no git repository becomes one.
pub fn init(dir: &Path, lab: &str) -> Result<Vec<PathBuf>> {
    name::label(lab).map_err(|message| Error::new(Kind::Usage, format!("the lab cannot have this name: {message}")))?;
    if dir.join("lap.toml").symlink_metadata().is_ok() {
        return Err(Error::new(
            Kind::Refused,
            format!("`{}` is a workspace already: it has a `lap.toml`", dir.display()),
        )
        .hint("run `lap up` there"));
    }
    fs::create_dir_all(dir).or_error(Kind::Host, || format!("cannot make the directory `{}`", dir.display()))?;
    repository(dir)?;
    let mut written = Vec::new();
    written.extend(ignore(dir)?);
    // `lap.toml` makes it a workspace, so it comes last: what was interrupted can be done again.
    let (last, first): (Vec<_>, Vec<_>) = TEMPLATES.iter().partition(|template| template.path == "lap.toml");
    for template in first.into_iter().chain(last) {
        let named;
        let bytes = if template.path == "lap.toml" {
            named = String::from_utf8_lossy(template.bytes).replacen(LAB, &format!("lab = \"{lab}\"\n"), 1);
            named.as_bytes()
        } else {
            template.bytes
        };
        let path = dir.join(template.path);
        if write(&path, bytes, template.executable)? {
            written.push(path);
        }
    }
    Ok(written)
}

/// Writes a file that is not there yet; false when it is.
fn write(path: &Path, bytes: &[u8], executable: bool) -> Result<bool> {
    let what = || format!("cannot write `{}`", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).or_error(Kind::Host, what)?;
    }
    let mode = if executable { 0o755 } else { 0o644 };
    match OpenOptions::new().write(true).create_new(true).mode(mode).open(path) {
        Ok(mut file) => file.write_all(bytes).or_error(Kind::Host, what).map(|()| true),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e).or_error(Kind::Host, what),
    }
}

/// Keeps the keys out of git, also where there is a `.gitignore` already.
fn ignore(dir: &Path) -> Result<Option<PathBuf>> {
    let path = dir.join(".gitignore");
    let what = || format!("cannot write `{}`", path.display());
    let old = match fs::read(&path) {
        Ok(old) => old,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(e).or_error(Kind::Host, what),
    };
    let there = |line: &[u8]| matches!(line.trim_ascii(), b"/.lap" | b".lap" | b"/.lap/" | b".lap/");
    if old.split(|b| *b == b'\n').any(there) {
        return Ok(None);
    }
    let mut file = OpenOptions::new().create(true).append(true).open(&path).or_error(Kind::Host, what)?;
    let gap = if old.is_empty() || old.ends_with(b"\n") { "" } else { "\n" };
    file.write_all(format!("{gap}{IGNORED}\n").as_bytes()).or_error(Kind::Host, what)?;
    Ok(Some(path))
}

/// `git init`, unless `dir` is inside a repository.
fn repository(dir: &Path) -> Result<()> {
    // Only the path is asked for: opening might fail for reasons (owner, format) that do not matter here.
    if git2::Repository::discover_path(dir, std::iter::empty::<&Path>()).is_ok() {
        return Ok(());
    }
    let mut options = git2::RepositoryInitOptions::new();
    options.initial_head("master").external_template(false);
    let made = git2::Repository::init_opts(dir, &options).map_err(|e| e.message().to_owned());
    made.map(drop).or_error(Kind::Host, || format!("cannot make a git repository of `{}`", dir.display()))
}
