//! Where a repository is, in the words that restic uses: a directory of the machine where the command is given, or
//! `sftp:[USER@]HOST:PATH`.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc};

use super::{Storage, directory::Directory, sftp::Sftp};
use crate::error::Result;

/// A repository's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A directory of a machine that stock `ssh` reaches.
    Sftp {
        /// `[USER@]HOST`, as ssh(1) takes it; `~/.ssh/config` counts.
        host: String,
        path: String,
    },
}

impl Location {
    /// What it takes to read and write there.
    ///
    /// # Errors
    /// The machine is not reached.
    pub fn storage(&self) -> Result<Arc<dyn Storage>> {
        Ok(match self {
            Self::Directory(path) => Arc::new(Directory::new(path)),
            Self::Sftp { host, path } => Arc::new(Sftp::connect(host, path)?),
        })
    }
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no place of a repository: write a path (`/srv/backup/lap`) or `sftp:user@host:/srv/lap`"
            )
        };
        if text.contains(char::is_control) {
            return Err(wrong());
        }
        if text.starts_with('/') {
            return Ok(Self::Directory(text.into()));
        }
        let (host, path) = text.strip_prefix("sftp:").and_then(|rest| rest.split_once(':')).ok_or_else(wrong)?;
        // It becomes a word of ssh's command line.
        if host.is_empty() || host.starts_with('-') || host.contains(char::is_whitespace) || path.is_empty() {
            return Err(wrong());
        }
        Ok(Self::Sftp { host: host.to_owned(), path: path.to_owned() })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "{}", path.display()),
            Self::Sftp { host, path } => write!(f, "sftp:{host}:{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_as_restic_writes_them() {
        for text in ["/srv/backup/lap", "sftp:backup@nas:/srv/lap", "sftp:nas:lap"] {
            assert_eq!(text.parse::<Location>().unwrap().to_string(), text);
        }
        for wrong in
            ["", "lap", "s3:bucket", "sftp:nas", "sftp::/x", "sftp:-oProxyCommand=x:/x", "sftp:a b:/x", "/a\nb"]
        {
            assert!(wrong.parse::<Location>().unwrap_err().contains("is no place of a repository"), "{wrong}");
        }
    }
}
