//! The location of a repository, in restic's syntax: a directory of the machine on which the command runs,
//! `sftp:[USER@]HOST:PATH`, or `s3:[https://]HOST[:PORT]/BUCKET[/FOLDER]`.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc};

use lap_base::error::Result;

use super::{directory::DirectoryStorage, s3::S3, sftp::Sftp, storage::Storage};

/// The location of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A directory of a machine that stock `ssh` reaches.
    Sftp {
        /// `[USER@]HOST` as for ssh(1), which reads `~/.ssh/config`.
        host: String,
        path: String,
    },
    /// A bucket of an S3 server, or a folder in it.
    S3 {
        /// `https://HOST[:PORT]`
        endpoint: String,
        bucket: String,
        /// The folder in the bucket. It may be empty.
        folder: String,
    },
}

impl Location {
    /// Returns the location of a directory in this one. `name` consists of letters, digits and `-`.
    #[must_use]
    pub fn below(&self, name: &str) -> Self {
        match self {
            Self::Directory(path) => Self::Directory(path.join(name)),
            Self::Sftp { host, path } => {
                let path = format!("{}/{name}", path.strip_suffix('/').unwrap_or(path));
                Self::Sftp { host: host.clone(), path }
            }
            Self::S3 { endpoint, bucket, folder } => {
                let folder = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
                Self::S3 { endpoint: endpoint.clone(), bucket: bucket.clone(), folder }
            }
        }
    }

    /// Opens the storage at this location.
    ///
    /// # Errors
    /// The machine cannot be reached, or the credentials for S3 are missing.
    pub fn storage(&self) -> Result<Arc<dyn Storage>> {
        Ok(match self {
            Self::Directory(path) => Arc::new(DirectoryStorage::new(path)),
            Self::Sftp { host, path } => Arc::new(Sftp::connect(host, path)?),
            Self::S3 { endpoint, bucket, folder } => Arc::new(S3::new(endpoint, bucket, folder)?),
        })
    }
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not the location of a repository: write a path (`/srv/backup/lap`), `sftp:user@host:/srv/lap` or \
                 `s3:host/bucket/folder`"
            )
        };
        if text.contains(char::is_control) {
            return Err(wrong());
        }
        if text.starts_with('/') {
            return Ok(Self::Directory(text.into()));
        }
        if let Some(rest) = text.strip_prefix("s3:") {
            return bucket(rest).ok_or_else(wrong);
        }
        let (host, path) = text.strip_prefix("sftp:").and_then(|rest| rest.split_once(':')).ok_or_else(wrong)?;
        // The host becomes an argument of ssh.
        if host.is_empty() || host.starts_with('-') || host.contains(char::is_whitespace) || path.is_empty() {
            return Err(wrong());
        }
        Ok(Self::Sftp { host: host.to_owned(), path: path.to_owned() })
    }
}

/// Parses `[https://]HOST[:PORT]/BUCKET[/FOLDER]`.
fn bucket(text: &str) -> Option<Location> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("https", text.trim_start_matches("//")));
    let (host, path) = rest.split_once('/')?;
    let (bucket, folder) = path.split_once('/').unwrap_or((path, ""));
    let folder = folder.trim_end_matches('/');
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    // Credentials are in the environment, and never in lap.toml.
    let fine = ["http", "https"].contains(&scheme)
        && !host.is_empty()
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b))
        && (3..=63).contains(&bucket.len())
        && plain(bucket)
        && folder.split('/').all(|part| plain(part) && ![".", ".."].contains(&part))
        && !folder.contains("//");
    let (endpoint, bucket, folder) = (format!("{scheme}://{host}"), bucket.to_owned(), folder.to_owned());
    fine.then_some(Location::S3 { endpoint, bucket, folder })
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "{}", path.display()),
            Self::Sftp { host, path } => write!(f, "sftp:{host}:{path}"),
            Self::S3 { endpoint, bucket, folder } => {
                let host = endpoint.strip_prefix("https://").unwrap_or(endpoint);
                let slash = if folder.is_empty() { "" } else { "/" };
                write!(f, "s3:{host}/{bucket}{slash}{folder}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_have_the_syntax_of_restic() {
        for text in [
            "/srv/backup/lap",
            "sftp:backup@nas:/srv/lap",
            "sftp:nas:lap",
            "s3:s3.example.org/bucket",
            "s3:http://127.0.0.1:9000/bucket/lab/one",
        ] {
            assert_eq!(text.parse::<Location>().unwrap().to_string(), text);
        }
        for (text, below) in [
            ("/srv/backup/lap", "/srv/backup/lap/env-test"),
            ("sftp:nas:lap", "sftp:nas:lap/env-test"),
            ("sftp:nas:/", "sftp:nas:/env-test"),
            ("s3:s3.example.org/bucket", "s3:s3.example.org/bucket/env-test"),
            ("s3:nas:9000/bucket/lab", "s3:nas:9000/bucket/lab/env-test"),
        ] {
            assert_eq!(text.parse::<Location>().unwrap().below("env-test").to_string(), below);
        }
        let long: Location = "s3:https://nas:9000/bucket/lab/".parse().unwrap();
        assert_eq!(long.to_string(), "s3:nas:9000/bucket/lab");
        for wrong in [
            "",
            "lap",
            "s3:bucket",
            "s3:host/",
            "s3:ftp://host/bucket",
            "s3:key:secret@host/bucket",
            "s3:host/bucket/../x",
            "sftp:nas",
            "sftp::/x",
            "sftp:-oProxyCommand=x:/x",
            "sftp:a b:/x",
            "/a\nb",
        ] {
            assert!(wrong.parse::<Location>().unwrap_err().contains("is not the location of a repository"), "{wrong}");
        }
    }
}
