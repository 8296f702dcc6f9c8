//! What is mounted on the node.

use std::fs;

/// Whether something is mounted at `path`.
pub fn is_mounted(path: &str) -> bool {
    mountinfo().iter().any(|mount| mount.target == path)
}

/// What is mounted at `target`, and as which file system.
pub fn mounted(target: &str) -> Option<(String, String)> {
    mountinfo().into_iter().rev().find(|mount| mount.target == target).map(|mount| (mount.source, mount.filesystem))
}

/// A mounted file system.
pub struct Mount {
    pub target: String,
    pub filesystem: String,
    pub source: String,
}

/// Of this thread, see proc(5): all threads of the agent have the same mounts, those of a test do not.
pub fn mountinfo() -> Vec<Mount> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    text.lines().filter_map(parse_mount).collect()
}

fn parse_mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut right = right.split(' ');
    Some(Mount {
        target: left.split(' ').nth(4)?.to_owned(),
        filesystem: right.next()?.to_owned(),
        source: right.next()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_lines_are_read() {
        let line = "36 35 98:0 /mnt1 /data rw,noatime master:1 - btrfs /dev/loop3 rw,errors=continue";
        let mount = parse_mount(line).unwrap();
        assert_eq!(
            (mount.target.as_str(), mount.filesystem.as_str(), mount.source.as_str()),
            ("/data", "btrfs", "/dev/loop3")
        );
        assert!(parse_mount("nonsense").is_none());
    }
}
