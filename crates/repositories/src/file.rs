//! The files of a repository (restic's "repository layout").

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The kind of a file, which is also its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Folder {
    /// The single file `config`, which is in no folder.
    Config,
    Keys,
    Snapshots,
    Index,
    Data,
    Locks,
}

impl Folder {
    /// Returns the name of the folder in a repository.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Keys => "keys",
            Self::Snapshots => "snapshots",
            Self::Index => "index",
            Self::Data => "data",
            Self::Locks => "locks",
        }
    }
}

/// A file of a repository. Its name is the SHA-256 of its content, except for `config`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryFile {
    pub folder: Folder,
    /// 64 hexadecimal digits, or empty for `config`.
    name: String,
}

impl RepositoryFile {
    /// Returns the file `name` (64 hexadecimal digits) of a folder, or `None` if this is not a valid name.
    pub fn new(folder: Folder, name: &str) -> Option<Self> {
        let digits = name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let fine = if folder == Folder::Config { name.is_empty() } else { name.len() == 64 && digits };
        fine.then(|| Self { folder, name: name.to_owned() })
    }

    /// Returns the file `config`.
    pub fn config() -> Self {
        Self { folder: Folder::Config, name: String::new() }
    }

    /// Returns the file's directory, relative to the repository. It is empty for `config`.
    pub fn directory(&self) -> String {
        match self.folder {
            Folder::Config => String::new(),
            Folder::Data => format!("data/{}", &self.name[..2]),
            folder => folder.name().to_owned(),
        }
    }

    /// Returns the file's path, relative to the repository.
    pub fn path(&self) -> String {
        match self.folder {
            Folder::Config => "config".into(),
            _ => format!("{}/{}", self.directory(), self.name),
        }
    }

    /// Returns whether `parts` are the file's content. The content of `config` cannot be checked.
    pub fn is(&self, parts: &[bytes::Bytes]) -> bool {
        let mut hash = Sha256::new();
        parts.iter().for_each(|part| hash.update(part));
        self.folder == Folder::Config || hex::encode(hash.finalize()) == self.name
    }
}

impl fmt::Display for RepositoryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

impl FromStr for RepositoryFile {
    type Err = String;

    fn from_str(path: &str) -> Result<Self, String> {
        const FOLDERS: [Folder; 5] = [Folder::Keys, Folder::Snapshots, Folder::Index, Folder::Data, Folder::Locks];
        if path == "config" {
            return Ok(Self::config());
        }
        let file = path.split_once('/').and_then(|(folder, rest)| {
            let folder = FOLDERS.into_iter().find(|known| known.name() == folder)?;
            Self::new(folder, rest.rsplit('/').next()?)
        });
        file.filter(|file| file.path() == path).ok_or_else(|| format!("`{path}` is not a file of a repository"))
    }
}

impl TryFrom<String> for RepositoryFile {
    type Error = String;

    fn try_from(path: String) -> Result<Self, String> {
        path.parse()
    }
}

impl From<RepositoryFile> for String {
    fn from(file: RepositoryFile) -> Self {
        file.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_paths_are_files_of_a_repository() {
        let name = "ab".repeat(32);
        for path in
            ["config".to_owned(), format!("data/ab/{name}"), format!("index/{name}"), format!("snapshots/{name}")]
        {
            assert_eq!(path.parse::<RepositoryFile>().unwrap().path(), path);
        }
        for wrong in [
            String::new(),
            "config/x".into(),
            "../config".into(),
            format!("data/{name}"),
            format!("data/../{name}"),
            format!("data/cd/{name}"),
            format!("tmp/{name}"),
            format!("index/{}", "AB".repeat(32)),
            format!("index/{name}/.."),
        ] {
            assert!(wrong.parse::<RepositoryFile>().is_err(), "{wrong}");
        }
    }
}
