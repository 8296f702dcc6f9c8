//! The file system of a pool.

use std::{fmt, path::Path};

use lap_base::error::{Kind, OrError, Result};
use nix::sys::statfs::{BTRFS_SUPER_MAGIC, statfs};
use serde::{Deserialize, Serialize};

/// The supported file systems. The best one comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filesystem {
    /// Makes snapshots itself.
    Btrfs,
    /// Makes no snapshots, but files can share data (reflinks).
    Xfs,
    /// Has neither snapshots nor reflinks.
    Ext4,
}

impl Filesystem {
    /// All supported file systems.
    pub const ALL: [Self; 3] = [Self::Btrfs, Self::Xfs, Self::Ext4];

    /// Returns the name that mount(8), blkid(8) and `/proc/filesystems` use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Btrfs => "btrfs",
            Self::Xfs => "xfs",
            Self::Ext4 => "ext4",
        }
    }

    /// Returns the file system with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|filesystem| filesystem.name() == name)
    }

    /// Returns the program that makes the file system, with its arguments. It prints nothing, and overwrites earlier
    /// data.
    pub fn mkfs(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Btrfs => ("mkfs.btrfs", &["--quiet", "--force"]),
            Self::Xfs => ("mkfs.xfs", &["-q", "-f"]),
            // The initialization runs now and not later in the background, where it would slow the first minutes. No
            // blocks are reserved for root: the agent has its own reserve, and containers that run as root could use
            // the reserved blocks.
            Self::Ext4 => ("mkfs.ext4", &["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"]),
        }
    }

    /// Returns the Debian package that contains the program.
    pub fn package(self) -> &'static str {
        match self {
            Self::Btrfs => "btrfs-progs",
            Self::Xfs => "xfsprogs",
            Self::Ext4 => "e2fsprogs",
        }
    }

    /// Returns a sentence about the cost of a snapshot, or `None` if it costs little.
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

/// Returns whether `path` is on btrfs.
///
/// # Errors
/// `path` does not exist.
pub fn is_btrfs(path: &Path) -> Result<bool> {
    let stat = statfs(path).or_error(Kind::Node, || format!("cannot look at `{}`", path.display()))?;
    Ok(stat.filesystem_type() == BTRFS_SUPER_MAGIC)
}
