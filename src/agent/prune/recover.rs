//! What an interrupted prune left in the registry.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use lap_base::error::{Kind, Result};

use super::registry;
use crate::wire::paths;

/// The registry's data; it need not be there.
pub fn registry_data() -> PathBuf {
    Path::new(paths::DATA).join("registry")
}

/// What an earlier lap set aside in another place could not be taken over at the agent's start.
static IN_OLD_PLACE: AtomicBool = AtomicBool::new(false);

/// Puts back the layers that an interrupted prune had set aside: at the agent's start before anybody asks the registry, and until it is done.
///
/// # Errors
/// The disk says why.
pub fn recover() -> Result<()> {
    let back = if registry::is_set_aside(&registry_data()) { registry::put_all_back(&registry_data()) } else { Ok(()) };
    if IN_OLD_PLACE.load(Ordering::Relaxed) { back.and(take_over(&registry_data(), &IN_OLD_PLACE)) } else { back }
}

/// At the agent's start: [`recover`], and the same for what an earlier lap set aside in another place.
///
/// # Errors
/// The disk says why.
pub fn recover_at_start() -> Result<()> {
    let taken = take_over(&registry_data(), &IN_OLD_PLACE);
    recover().and(taken)
}

/// The old place is in the registry's own data, so it is looked at only at the start, and again while the disk refuses: the registry cannot
/// say that something is pending.
fn take_over(data: &Path, pending: &AtomicBool) -> Result<()> {
    let taken = registry::take_over(data);
    let disk_refuses = taken.as_ref().is_err_and(|error| error.kind != Kind::Refused);
    pending.store(disk_refuses, Ordering::Relaxed);
    taken
}

/// Whether [`recover`] has something to do.
pub fn is_pending() -> bool {
    IN_OLD_PLACE.load(Ordering::Relaxed) || registry::is_set_aside(&registry_data())
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    #[test]
    fn the_old_place_is_pending_only_while_the_disk_refuses() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("registry");
        let (hex, pending) = ("b".repeat(64), AtomicBool::new(false));
        let layer = data.join(".lap-prune/blobs").join(&hex);
        fs::create_dir_all(&layer).unwrap();
        fs::write(layer.join("data"), "layer").unwrap();
        let chattr = |how: &str| Command::new("chattr").arg(how).arg(&layer).status().unwrap().success();
        if !chattr("+i") {
            // This file system has no such attribute.
            return;
        }
        assert!(take_over(&data, &pending).is_err() && pending.load(Ordering::Relaxed));
        assert!(chattr("-i"));
        take_over(&data, &pending).unwrap();
        assert!(!pending.load(Ordering::Relaxed) && !data.join(".lap-prune").exists());
        // What the registry plants is none of it.
        fs::create_dir(data.join(".lap-prune")).unwrap();
        std::os::unix::fs::symlink("/etc", data.join(".lap-prune/blobs")).unwrap();
        assert!(take_over(&data, &pending).is_err() && !pending.load(Ordering::Relaxed));
    }
}
