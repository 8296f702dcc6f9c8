//! Files that have no name any more and take room all the same, because a process of a container has them open.

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt, time::Instant};

use crate::agent::data::processes::{of, processes};

/// What the kernel appends to the path of such a file.
const MARK: &[u8] = b" (deleted)";

/// The bytes that such files of the container with this id take on one of these devices, and whether all were seen.
pub fn bytes(id: &str, devices: &BTreeSet<u64>, until: Instant) -> (u64, bool) {
    let ids = BTreeSet::from([id.to_owned()]);
    let (mut seen, mut bytes) = (BTreeSet::new(), 0);
    for pid in processes(&|groups| of(&ids, groups)) {
        for file in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            if Instant::now() > until {
                return (bytes, false);
            }
            // Only what the kernel says is deleted is looked at: a file system of a container could keep a look waiting.
            let is_deleted =
                fs::read_link(file.path()).is_ok_and(|path| path.as_os_str().as_encoded_bytes().ends_with(MARK));
            let Some(meta) = is_deleted.then(|| fs::metadata(file.path()).ok()).flatten() else { continue };
            let is_data = meta.is_file() && meta.nlink() == 0 && devices.contains(&meta.dev());
            if is_data && seen.insert((meta.dev(), meta.ino())) {
                bytes += meta.blocks() * 512;
            }
        }
    }
    (bytes, true)
}
