//! Calls of btrfs(8).

use std::{
    path::Path,
    process::{Command, Output},
};

use lap_base::error::{Error, Kind, OrError, Result};

/// Makes `to` a snapshot of the subvolume `from`.
///
/// # Errors
/// The error message of btrfs.
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
/// The error message of btrfs.
pub fn create(path: &Path) -> Result<()> {
    run(btrfs(&["subvolume", "create", "--"]).arg(path)).map(drop)
}

/// Deletes a subvolume. btrfs frees its space later, in the background.
///
/// # Errors
/// The error message of btrfs.
pub fn delete(path: &Path) -> Result<()> {
    // This works for a read-only subvolume too, because the property restricts only writers inside.
    run(btrfs(&["subvolume", "delete", "--"]).arg(path)).map(drop)
}

/// Returns the subvolumes directly inside the one at `path`, as btrfs lists them: complete paths from the top of the
/// file system. A container chooses the names, so a line can be misleading, and [`super::nested`] checks each one.
///
/// # Errors
/// The error message of btrfs.
pub fn list(path: &Path) -> Result<Vec<Vec<u8>>> {
    output(btrfs(&["subvolume", "list", "-o", "--"]).arg(path)).map(|output| listed(&output.stdout))
}

/// Parses lines of the form `ID 260 gen 10 top level 256 path data/x`. A name may contain line breaks.
fn listed(said: &[u8]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for line in said.split(|byte| *byte == b'\n') {
        let path = line.windows(6).position(|word| word == b" path ").map(|at| &line[at + 6..]);
        match (line.starts_with(b"ID ").then_some(path).flatten(), all.last_mut()) {
            (Some(path), _) => all.push(path.to_vec()),
            (None, Some(last)) => {
                last.push(b'\n');
                last.extend(line);
            }
            (None, None) => {}
        }
    }
    // The last line break ends the list and is not part of a name.
    if let Some(last) = all.last_mut().filter(|last| last.ends_with(b"\n")) {
        last.pop();
    }
    all
}

/// Makes a subvolume read-only.
///
/// # Errors
/// The error message of btrfs.
pub fn set_read_only(path: &Path) -> Result<()> {
    run(btrfs(&["property", "set", "-ts"]).arg(path).args(["ro", "true"])).map(drop)
}

/// Makes a subvolume writable.
///
/// # Errors
/// The error message of btrfs.
pub fn set_writable(path: &Path) -> Result<()> {
    run(btrfs(&["property", "set", "-ts"]).arg(path).args(["ro", "false"])).map(drop)
}

/// Returns the number of a subvolume. A rename does not change it.
///
/// # Errors
/// There is no subvolume at `path`.
pub fn number(path: &Path) -> Result<u64> {
    let said = run(btrfs(&["inspect-internal", "rootid"]).arg(path))?;
    said.trim()
        .parse()
        .or_error(Kind::Node, || format!("btrfs gives `{}` the number `{}`", path.display(), said.trim()))
}

/// Returns the size of the subvolume in bytes: first the part that no other subvolume shares, then the total.
///
/// # Errors
/// The error message of btrfs.
pub fn usage(path: &Path) -> Result<(u64, u64)> {
    let said = run(btrfs(&["filesystem", "du", "--raw", "-s", "--"]).arg(path))?;
    // The first line is "Total   Exclusive  Set shared  Filename". The second line contains the numbers.
    let line = said.lines().nth(1).unwrap_or_default();
    let mut numbers = line.split_whitespace().map(str::parse::<u64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(total)), Some(Ok(own))) => Ok((own, total)),
        _ => Err(Error::new(Kind::Node, format!("btrfs does not report the size of `{}`", path.display()))),
    }
}

fn btrfs(arguments: &[&str]) -> Command {
    let mut command = Command::new("btrfs");
    command.args(arguments);
    command
}

fn run(command: &mut Command) -> Result<String> {
    output(command).map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn output(command: &mut Command) -> Result<Output> {
    let output = command.output().or_error(Kind::Node, || "cannot run `btrfs`".into())?;
    if output.status.success() {
        return Ok(output);
    }
    let words: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(Error::new(Kind::Node, format!("`btrfs {}` failed: {said}", words.join(" "))))
}

#[cfg(test)]
mod tests {
    #[test]
    fn subvolumes_with_any_name_are_listed() {
        let said = b"ID 260 gen 10 top level 256 path data/a path b\nID 261 gen 10 top level 256 path data/new\nline\n";
        assert_eq!(super::listed(said), [&b"data/a path b"[..], b"data/new\nline"]);
        assert!(super::listed(b"").is_empty());
    }
}
