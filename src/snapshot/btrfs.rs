//! The few things asked of btrfs(8).

use std::{path::Path, process::Command};

use crate::error::{Error, Kind, OrError, Result};

/// Makes `to` a snapshot of the subvolume `from`.
///
/// # Errors
/// What btrfs says.
pub fn snapshot(from: &Path, to: &Path, read_only: bool) -> Result<()> {
    let mut command = btrfs(&["subvolume", "snapshot"]);
    if read_only {
        command.arg("-r");
    }
    run(command.arg("--").arg(from).arg(to)).map(drop)
}

/// Makes an empty subvolume.
///
/// # Errors
/// What btrfs says.
pub fn create(path: &Path) -> Result<()> {
    run(btrfs(&["subvolume", "create", "--"]).arg(path)).map(drop)
}

/// Deletes a subvolume. Its space comes back later, in the background.
///
/// # Errors
/// What btrfs says.
pub fn delete(path: &Path) -> Result<()> {
    // Of a read-only one, too, as root may (the property only keeps writers out).
    run(btrfs(&["subvolume", "delete", "--"]).arg(path)).map(drop)
}

/// Nobody may write to this subvolume from now on.
///
/// # Errors
/// What btrfs says.
pub fn set_read_only(path: &Path) -> Result<()> {
    run(btrfs(&["property", "set", "-ts"]).arg(path).args(["ro", "true"])).map(drop)
}

/// The number of a subvolume, which it keeps whatever it is called.
///
/// # Errors
/// There is no subvolume.
pub fn number(path: &Path) -> Result<u64> {
    let said = run(btrfs(&["inspect-internal", "rootid"]).arg(path))?;
    said.trim()
        .parse()
        .or_error(Kind::Node, || format!("btrfs gives `{}` the number `{}`", path.display(), said.trim()))
}

/// Waits until what was done is on the disk.
///
/// # Errors
/// What btrfs says.
pub fn sync(path: &Path) -> Result<()> {
    run(btrfs(&["filesystem", "sync"]).arg(path)).map(drop)
}

/// Bytes that only this subvolume has, and all it has.
///
/// # Errors
/// What btrfs says.
pub fn usage(path: &Path) -> Result<(u64, u64)> {
    let said = run(btrfs(&["filesystem", "du", "--raw", "-s", "--"]).arg(path))?;
    // "Total   Exclusive  Set shared  Filename", then the numbers.
    let line = said.lines().nth(1).unwrap_or_default();
    let mut numbers = line.split_whitespace().map(str::parse::<u64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(total)), Some(Ok(own))) => Ok((own, total)),
        _ => Err(Error::new(Kind::Node, format!("btrfs does not say how large `{}` is", path.display()))),
    }
}

fn btrfs(arguments: &[&str]) -> Command {
    let mut command = Command::new("btrfs");
    command.args(arguments);
    command
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().or_error(Kind::Node, || "cannot run `btrfs`".into())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(Error::new(Kind::Node, format!("`btrfs {}` failed: {said}", words.join(" "))))
}
