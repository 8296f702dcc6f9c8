//! The passwords that open a repository: the lab's own password (`.lap/keys/repository.password`) and the passphrase of
//! the operators. Each of them is a key in restic's format, so stock restic accepts both.

use lap_base::{
    error::{Error, Kind, OrError, Result},
    random::random,
    secret::Secret,
};
use rustic_core::{
    jiff::Zoned,
    repofile::{KeyFile, KeyId},
};
use sha2::{Digest, Sha256};

use super::{
    cipher::Cipher,
    file::{Folder, RepositoryFile},
    key_slot::KeySlot,
    open::{Repository, guarded},
};

/// scrypt's parameter N for the lab's own key. It is restic's value: 32 MiB and a tenth of a second. rustic_core's
/// value takes four times as long for every copy. The password has 32 random letters and digits, so it cannot be
/// guessed even if each try is fast.
const LAB_N: u32 = 1 << 15;

impl Repository {
    /// Returns whether there is a passphrase.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn has_passphrase(&self) -> Result<bool> {
        self.slot_files(KeySlot::Passphrase).map(|files| !files.is_empty())
    }

    /// Sets the passphrase. An earlier passphrase no longer opens the repository.
    ///
    /// # Errors
    /// The repository cannot be written.
    pub fn set_passphrase(&self, passphrase: &Secret) -> Result<()> {
        let before = self.slot_files(KeySlot::Passphrase)?;
        let name = self.name.as_str();
        let new: KeyId = guarded(name, || self.inner.add_key(passphrase.expose(), &KeySlot::Passphrase.key()))?;
        let new = RepositoryFile::new(Folder::Keys, new.to_hex().as_str());
        for file in before.iter().filter(|file| Some(*file) != new.as_ref()) {
            self.storage.remove(file).or_error(Kind::Host, || format!("cannot remove `{file}` of `{name}`"))?;
        }
        Ok(())
    }

    /// Replaces the lab's key by one with a smaller N, so that it opens the repository faster.
    pub(super) fn replace_lab_key(&self, password: &Secret) -> Result<()> {
        let before = self.slot_files(KeySlot::Lab)?;
        let mut key = KeyFile {
            hostname: None,
            username: Some(KeySlot::Lab.user().to_owned()),
            created: Some(Zoned::now()),
            kdf: "scrypt".to_owned(),
            n: LAB_N,
            r: 8,
            p: 1,
            data: Vec::new(),
            salt: random::<64>()?.to_vec(),
        };
        let (encrypt, k, r) = guarded(&self.name, || key.kdf_key(&password.expose()))?.to_keys();
        key.data = Cipher::new(&encrypt, &k, &r)?.seal(self.key()?.expose().as_bytes())?;
        let what = || format!("cannot write a key of `{}`", self.name);
        let text = serde_json::to_vec(&key).or_error(Kind::Other, what)?;
        let file = RepositoryFile::new(Folder::Keys, &hex::encode(Sha256::digest(&text)));
        let file = file.ok_or_else(|| Error::new(Kind::Other, what()))?;
        self.storage.write(&file, &[text.into()]).or_error(Kind::Host, what)?;
        // If the process is killed before this line, both keys open the repository.
        before.iter().try_for_each(|file| self.storage.remove(file)).or_error(Kind::Host, what)
    }

    fn slot_files(&self, slot: KeySlot) -> Result<Vec<RepositoryFile>> {
        let files = self.storage.list(Folder::Keys).or_error(Kind::Host, || format!("cannot read `{}`", self.name))?;
        let mut behind = Vec::new();
        for (file, _) in files {
            let found = KeySlot::of(self.storage.as_ref(), &file);
            let found = found.or_error(Kind::Host, || format!("cannot read the key `{file}` of `{}`", self.name))?;
            if found == Some(slot) {
                behind.push(file);
            }
        }
        Ok(behind)
    }
}
