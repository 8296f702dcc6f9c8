//! Changes what this machine trusts.

use std::{
    fs::{self, DirBuilder},
    io::ErrorKind,
    os::unix::fs::DirBuilderExt,
    path::Path,
    process::Command,
};

use lap_base::{Error, Kind, OrError, Result};

use super::{
    machine::{DEBIAN_CONFIG, SystemStore, TrustChange, inside},
    observe::read,
};
use crate::keys::files;

/// Makes the changes on the machine whose root directory is `root`. `run` runs one command (its words); the paths in
/// the words are as seen from that root directory.
///
/// # Errors
/// [`Kind::Refused`], before anything is changed: there is something [`TrustChange::Foreign`], or this is the real
/// machine and we are not root. [`Kind::Host`] when a file cannot be written, or whatever `run` says.
pub fn apply(root: &Path, changes: &[TrustChange], run: &mut dyn FnMut(&[&str]) -> Result<()>) -> Result<()> {
    let foreign = changes.iter().filter_map(|c| match c {
        TrustChange::Foreign(path) => Some(format!("`{}`", path.display())),
        _ => None,
    });
    let foreign: Vec<_> = foreign.collect();
    if !foreign.is_empty() {
        let message = format!("another certificate has this name: {}", foreign.join(", "));
        return Err(Error::new(Kind::Refused, message)
            .hint("run `lap keys trust --undo` in the workspace that installed it, or move it away"));
    }
    if !changes.is_empty() && root == Path::new("/") && !nix::unistd::geteuid().is_root() {
        return Err(Error::new(Kind::Refused, "only root may change what this machine trusts")
            .hint("run the same command with `sudo`; `--dry-run` shows what it would do"));
    }
    changes.iter().try_for_each(|change| apply_one(root, change, run))
}

fn apply_one(root: &Path, change: &TrustChange, run: &mut dyn FnMut(&[&str]) -> Result<()>) -> Result<()> {
    match change {
        TrustChange::Foreign(_) => Ok(()),
        TrustChange::Write { path, content } => {
            let (path, dir) = (inside(root, path), inside(root, path.parent().unwrap_or(path)));
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(&dir)
                .or_error(Kind::Host, || format!("cannot make directory `{}`", dir.display()))?;
            files::replace(&path, content.as_bytes(), 0o644)
        }
        TrustChange::Remove(path) => ignore_missing(fs::remove_file(inside(root, path)), path),
        TrustChange::RemoveDirectory(path) => ignore_missing(fs::remove_dir(inside(root, path)), path),
        TrustChange::Forget(SystemStore::Debian, name) => {
            // A file that is simply gone leaves dangling links in /etc/ssl/certs, and the hook that keeps Java's store
            // is not told. Listing it as deselected, for this one run, does both.
            let config = read(root, Path::new(DEBIAN_CONFIG))?.unwrap_or_default();
            let copy = tempfile::NamedTempFile::new().or_error(Kind::Host, || "cannot make a temporary file".into())?;
            fs::write(copy.path(), format!("{}\n!{name}\n", config.trim_end()))
                .or_error(Kind::Host, || format!("cannot write `{}`", copy.path().display()))?;
            run(&[SystemStore::Debian.command(), "--certsconf", &copy.path().display().to_string()])
        }
        TrustChange::Update(store) | TrustChange::Forget(store, _) => run(&[store.command()]),
    }
}

/// What another run removed in the meantime is gone as wanted.
fn ignore_missing(result: std::io::Result<()>, path: &Path) -> Result<()> {
    match result {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(Error::new(Kind::Host, format!("cannot remove `{}`: {e}", path.display())))
        }
        _ => Ok(()),
    }
}

/// Runs one command on this machine: [`apply`]'s `run` outside tests.
///
/// # Errors
/// [`Kind::Host`] when it is not installed or fails; then with what it said.
pub fn run_command(words: &[&str]) -> Result<()> {
    let [program, arguments @ ..] = words else { return Ok(()) };
    // These live in /usr/sbin, which is not in everybody's path (`su` without `-`).
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".into()));
    let output = Command::new(program).args(arguments).env("PATH", path).output().map_err(|e| {
        Error::new(Kind::Host, format!("cannot run `{program}`: {e}")).hint("install the package `ca-certificates`")
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::new(Kind::Host, format!("`{}` failed ({}): {said}", words.join(" "), output.status)))
}
