//! Makes root file systems from Debian's signed packages with mmdebstrap(1). No image is pulled from anywhere.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use crate::{
    config::model::Rootfs,
    error::{Error, Kind, OrError, Result},
    report::Line,
};

/// Raised when the way of making changes what comes out.
const GENERATION: u32 = 1;

/// Identity of what this definition makes: equal definitions have equal identities.
pub fn identity(rootfs: &Rootfs) -> String {
    let text = serde_json::to_string(&(GENERATION, rootfs)).unwrap_or_default();
    hex::encode(&Sha256::digest(text.as_bytes())[..16])
}

/// Where the archive of this definition is kept. May be deleted at any time.
pub fn cached(cache: &Path, rootfs: &Rootfs) -> PathBuf {
    cache.join(format!("rootfs-{}.tar", identity(rootfs)))
}

/// The user's cache directory for lap, `$XDG_CACHE_HOME/lap` or `~/.cache/lap`.
pub fn cache_directory() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || {
        std::env::var_os("HOME").map_or_else(|| PathBuf::from("/var/cache"), |home| PathBuf::from(home).join(".cache"))
    };
    base.unwrap_or_else(home).join("lap")
}

/// mmdebstrap's arguments.
fn arguments(rootfs: &Rootfs, out: &Path) -> Vec<String> {
    let packages = rootfs.packages.iter().cloned().collect::<Vec<_>>().join(",");
    let mut arguments =
        vec![format!("--variant={}", rootfs.variant), "--aptopt=Apt::Install-Recommends \"false\"".into()];
    arguments.extend(rootfs.exclude.iter().map(|pattern| format!("--dpkgopt=path-exclude={pattern}")));
    arguments.extend(rootfs.include.iter().map(|pattern| format!("--dpkgopt=path-include={pattern}")));
    if !packages.is_empty() {
        arguments.push(format!("--include={packages}"));
    }
    arguments.extend(["--format=tar".into(), rootfs.suite.clone(), out.display().to_string()]);
    arguments
}

/// Makes the archive unless it is cached, telling `line` what mmdebstrap says. Returns its path.
///
/// # Errors
/// mmdebstrap is missing, or fails: with its last lines.
pub async fn make(cache: &Path, rootfs: &Rootfs, line: &Line<'_>) -> Result<PathBuf> {
    let target = cached(cache, rootfs);
    if target.exists() {
        return Ok(target);
    }
    std::fs::create_dir_all(cache).or_error(Kind::Host, || format!("cannot make `{}`", cache.display()))?;
    // Several may make the same: each writes its own, the last rename wins, all are equal.
    let new = tempfile::Builder::new()
        .prefix("rootfs-")
        .suffix(".tar.lap-new")
        .tempfile_in(cache)
        .or_error(Kind::Host, || format!("cannot write to `{}`", cache.display()))?;
    let mut child = Command::new("mmdebstrap")
        .args(arguments(rootfs, new.path()))
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            Error::new(Kind::Host, format!("cannot run `mmdebstrap`: {error}"))
                .hint("`sudo apt-get install mmdebstrap`, or `scripts/up`, which installs all that is missing")
        })?;
    let mut last: Vec<String> = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(text)) = lines.next_line().await {
            line(text.trim());
            last.push(text);
            let surplus = last.len().saturating_sub(12);
            last.drain(..surplus);
        }
    }
    let status = child.wait().await.or_error(Kind::Host, || "cannot wait for `mmdebstrap`".into())?;
    if !status.success() {
        let message = format!("`mmdebstrap` for `{}` ended with {status}\n{}", rootfs.suite, last.join("\n"));
        return Err(
            Error::new(Kind::Build, message).hint("is Debian's mirror reachable, and do all these packages exist?")
        );
    }
    new.persist(&target).or_error(Kind::Host, || format!("cannot write `{}`", target.display()))?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_the_identity() {
        let one = Rootfs {
            suite: "bookworm".into(),
            variant: "minbase".into(),
            packages: ["curl".into()].into(),
            ..Rootfs::default()
        };
        let mut two = one.clone();
        assert_eq!(identity(&one), identity(&two));
        two.packages.insert("git".into());
        assert_ne!(identity(&one), identity(&two));
        let line = arguments(&two, Path::new("/x.tar"));
        assert_eq!(line[line.len() - 4..], ["--include=curl,git", "--format=tar", "bookworm", "/x.tar"]);
    }
}
