//! Where the keys of a workspace are, and the lock of that directory.

use std::path::{Path, PathBuf};

use lap_base::{Kind, OrError, Result};

use super::files;

/// `<workspace>/.lap`.
pub(super) fn lap_dir(root: &Path) -> PathBuf {
    root.join(".lap")
}

/// `<workspace>/.lap/keys`.
pub(crate) fn keys_dir(root: &Path) -> PathBuf {
    lap_dir(root).join("keys")
}

/// Takes the store's lock and clears up after killed writers.
pub(crate) fn lock(root: &Path) -> Result<files::StoreLock> {
    std::fs::create_dir_all(lap_dir(root))
        .or_error(Kind::Host, || format!("cannot make directory `{}`", lap_dir(root).display()))?;
    let lock = files::lock(&lap_dir(root))?;
    files::sweep(&keys_dir(root))?;
    // Whatever the workspace's own `.gitignore` says: keys must not get into git.
    let ignore = lap_dir(root).join(".gitignore");
    if !ignore.exists() {
        files::write_new(&ignore, b"*\n", 0o644)?;
    }
    Ok(lock)
}
