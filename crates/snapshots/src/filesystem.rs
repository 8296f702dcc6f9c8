//! What file system a pool is.

use std::{fmt, path::Path};

use lap_base::error::{Kind, OrError, Result};
use nix::sys::statfs::{BTRFS_SUPER_MAGIC, statfs};
use serde::{Deserialize, Serialize};

/// The file systems a pool can be, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filesystem {
    /// Takes snapshots itself.
    Btrfs,
    /// Does not; files can share what they have in common.
    Xfs,
    /// Does neither.
    Ext4,
}

impl Filesystem {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Btrfs, Self::Xfs, Self::Ext4];

    /// As mount(8), blkid(8) and `/proc/filesystems` call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Btrfs => "btrfs",
            Self::Xfs => "xfs",
            Self::Ext4 => "ext4",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|filesystem| filesystem.name() == name)
    }

    /// The program that makes one, and its words: quiet, and over whatever was there.
    pub fn mkfs(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Btrfs => ("mkfs.btrfs", &["--quiet", "--force"]),
            Self::Xfs => ("mkfs.xfs", &["-q", "-f"]),
            // What it would do later, in the background, it does now: else the first minutes are slow. No blocks are kept for root: the agent keeps a
            // reserve itself, and containers that run as root would use these blocks.
            Self::Ext4 => ("mkfs.ext4", &["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"]),
        }
    }

    /// Debian's package with that program.
    pub fn package(self) -> &'static str {
        match self {
            Self::Btrfs => "btrfs-progs",
            Self::Xfs => "xfsprogs",
            Self::Ext4 => "e2fsprogs",
        }
    }

    /// What a snapshot costs there; `None`: nothing worth a word.
    pub fn cost(self) -> Option<&'static str> {
        match self {
            Self::Btrfs => None,
            Self::Xfs => Some("a snapshot freezes containers for a moment while it clones the last changes"),
            Self::Ext4 => Some("a snapshot freezes containers for a moment while it copies the last changes"),
        }
    }
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether what lies at `path` is on btrfs.
///
/// # Errors
/// There is nothing.
pub fn is_btrfs(path: &Path) -> Result<bool> {
    let stat = statfs(path).or_error(Kind::Node, || format!("cannot look at `{}`", path.display()))?;
    Ok(stat.filesystem_type() == BTRFS_SUPER_MAGIC)
}
