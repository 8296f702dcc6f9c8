//! The key slots of a repository: one for the lab's password and one for the passphrase.

use std::io;

use lap_base::error::{Error, Kind};
use rustic_core::KeyOptions;

use super::{file::RepositoryFile, storage::Storage};

/// The owner of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySlot {
    Lab,
    Passphrase,
}

impl KeySlot {
    /// Returns the user name in the slot's key files. `restic key list` shows it.
    pub(super) fn user(self) -> &'static str {
        match self {
            Self::Lab => "lap",
            Self::Passphrase => "lap-passphrase",
        }
    }

    /// Returns the slot of a key file, or `None` if a user added the key with restic.
    ///
    /// # Errors
    /// The file cannot be read, so the key may belong to either slot.
    pub(super) fn of(storage: &dyn Storage, file: &RepositoryFile) -> io::Result<Option<Self>> {
        let key: serde_json::Value = serde_json::from_slice(&storage.read(file, None)?)?;
        let user = key.get("username").and_then(|user| user.as_str());
        Ok([Self::Lab, Self::Passphrase].into_iter().find(|slot| Some(slot.user()) == user))
    }

    pub(super) fn key(self) -> KeyOptions {
        KeyOptions::default().username(self.user().to_owned()).with_created(true)
    }

    /// Returns the error for a password that does not open the repository.
    pub(super) fn wrong_password(self, name: &str) -> Error {
        match self {
            Self::Lab => Error::new(Kind::Keys, format!("the lab's repository password does not open `{name}`"))
                .hint("it belongs to another lab, or was made with other keys"),
            Self::Passphrase => Error::new(Kind::Keys, format!("the passphrase does not open `{name}`")),
        }
    }
}
