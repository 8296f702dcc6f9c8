//! Makes root file systems from Debian's signed packages with mmdebstrap(1). No image is pulled from anywhere.

use std::path::{Path, PathBuf};

use lap_base::error::{Kind, OrError, Result};
use sha2::{Digest, Sha256};

use super::command::Run;
use crate::{config::model::Rootfs, report::LineSink};

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

/// mmdebstrap's arguments for an archive.
fn arguments(rootfs: &Rootfs, out: &Path) -> Vec<String> {
    let mut arguments = options(rootfs);
    arguments.extend(["--format=tar".into(), rootfs.suite.clone(), out.display().to_string()]);
    arguments
}

/// mmdebstrap's options for what goes into it.
pub fn options(rootfs: &Rootfs) -> Vec<String> {
    let packages = rootfs.packages.iter().cloned().collect::<Vec<_>>().join(",");
    let mut arguments =
        vec![format!("--variant={}", rootfs.variant), "--aptopt=Apt::Install-Recommends \"false\"".into()];
    arguments.extend(rootfs.exclude.iter().map(|pattern| format!("--dpkgopt=path-exclude={pattern}")));
    arguments.extend(rootfs.include.iter().map(|pattern| format!("--dpkgopt=path-include={pattern}")));
    if !packages.is_empty() {
        arguments.push(format!("--include={packages}"));
    }
    arguments
}

/// Makes the archive unless it is cached, telling `line` what mmdebstrap says. Returns its path.
///
/// # Errors
/// mmdebstrap is missing, or fails: with its last lines.
pub async fn make(cache: &Path, rootfs: &Rootfs, line: &LineSink<'_>) -> Result<PathBuf> {
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
    mmdebstrap(&arguments(rootfs, new.path()), &rootfs.suite, line).await?;
    new.persist(&target).or_error(Kind::Host, || format!("cannot write `{}`", target.display()))?;
    Ok(target)
}

/// Runs mmdebstrap for this release of Debian.
///
/// # Errors
/// It is missing, or fails: with its last lines.
pub async fn mmdebstrap(arguments: &[String], suite: &str, line: &LineSink<'_>) -> Result<()> {
    let run = Run::new("mmdebstrap", arguments.iter().cloned())
        .variable("SOURCE_DATE_EPOCH", "1700000000")
        .variable("DEBIAN_FRONTEND", "noninteractive")
        .missing("run `sudo apt-get install mmdebstrap`, or `scripts/up`, which installs all missing packages");
    run.output(Kind::Build, line).await.map(drop).map_err(|mut error| {
        // Its command line is a page; what it is for says more.
        if let (Kind::Build, Some((first, rest))) = (error.kind, error.message.split_once('\n')) {
            let status = first.rsplit_once("` ").map_or(first, |(_, status)| status);
            error.message = format!("`mmdebstrap` for `{suite}` {status}\n{rest}");
            return error.hint("check that Debian's mirror answers, and that all these packages exist");
        }
        error
    })
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
