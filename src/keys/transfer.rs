//! Moving the keys: one age file under a passphrase, which stock tools open when lap is gone:
//! `age -d lap-keys.age | tar x -C .lap` (the archive holds `keys/…`).

use std::{
    collections::BTreeMap,
    fs,
    io::{Cursor, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use lap_base::{Error, Kind, OrError, Result};
use zeroize::Zeroizing;

use super::{certificate, dns, files, passphrase::Passphrase, store::Keys};
use crate::keys::directory::{keys_dir, lap_dir, lock};

/// scrypt's work, as a power of two: what stock `age` uses (256 MB, about a second).
const WORK: u8 = 18;
/// The most work that is accepted: a made-up file must not eat the machine. Stock `age` has the same limit.
const MOST_WORK: u8 = 22;
/// Far more than any store needs: a damaged or made-up file cannot fill memory.
const MOST_BYTES: u64 = 16 << 20;
const STAGING: &str = "keys.import";

/// The files of a store, by their path in it.
type Store = BTreeMap<PathBuf, Zeroizing<Vec<u8>>>;

/// What [`import`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The files that were missing and are there now, and the certificates that were replaced by newer ones of the same authority, relative
    /// to the store; empty: nothing to do.
    pub added: Vec<String>,
}

/// Writes the keys of the workspace at `root` into `file` (0600), encrypted under the passphrase.
///
/// # Errors
/// [`Kind::Keys`] as [`Keys::open`]; [`Kind::Refused`] when `file` exists; [`Kind::Host`] when it cannot be written.
pub fn export(root: &Path, file: &Path, passphrase: &Passphrase) -> Result<()> {
    export_with(root, file, passphrase, WORK)
}

fn export_with(root: &Path, file: &Path, passphrase: &Passphrase, work: u8) -> Result<()> {
    if file.symlink_metadata().is_ok() {
        return Err(Error::new(Kind::Refused, format!("`{}` exists already", file.display()))
            .hint("choose another name, or remove it first"));
    }
    let keys = Keys::open(root)?;
    let _lock = lock(root)?;
    let now = time::OffsetDateTime::now_utc().unix_timestamp().unsigned_abs();
    let plain = pack(keys.directory(), now)?;
    files::write_new(file, &encrypt_with(&plain, passphrase, work)?, 0o600)
}

/// Encrypts under the passphrase.
pub(super) fn encrypt(plain: &[u8], passphrase: &Passphrase) -> Result<Vec<u8>> {
    encrypt_with(plain, passphrase, WORK)
}

fn encrypt_with(plain: &[u8], passphrase: &Passphrase, work: u8) -> Result<Vec<u8>> {
    let what = || "cannot encrypt the keys".to_owned();
    let mut recipient = age::scrypt::Recipient::new(passphrase.for_age());
    recipient.set_work_factor(work);
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as _)).or_error(Kind::Other, what)?;
    let mut writer = encryptor.wrap_output(Vec::new()).or_error(Kind::Other, what)?;
    writer.write_all(plain).or_error(Kind::Other, what)?;
    writer.finish().or_error(Kind::Other, what)
}

/// Takes over the keys in `file`: into a workspace without keys, or beside the same ones, adding what is missing.
/// Everything is checked before anything is written; a new store appears by one rename.
///
/// # Errors
/// [`Kind::Keys`] when `file` cannot be read, is damaged, or the passphrase is wrong; [`Kind::Refused`] when the
/// workspace has other keys (named), which are left as they are; [`Kind::Host`] when the disk refuses.
pub fn import(root: &Path, file: &Path, passphrase: &Passphrase) -> Result<Imported> {
    let what = || format!("cannot read `{}`", file.display());
    let mut cipher = Vec::new();
    let opened = fs::File::open(file).or_error(Kind::Keys, what)?;
    opened.take(MOST_BYTES + 1).read_to_end(&mut cipher).or_error(Kind::Keys, what)?;
    if cipher.len() as u64 > MOST_BYTES {
        return Err(damaged(file, "it is too large"));
    }
    take_over(root, &decrypt(&cipher, passphrase, file)?, file)
}

/// Takes over the keys of an archive that came out of `file`.
pub(super) fn take_over(root: &Path, plain: &[u8], file: &Path) -> Result<Imported> {
    let mut store = unpack(plain).map_err(|why| damaged(file, why))?;
    store.retain(|path, _| !dns::is_retired(path));
    let _lock = lock(root)?;
    sweep_staging(root);
    let staging = tempfile::Builder::new()
        .prefix(STAGING)
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(lap_dir(root))
        .or_error(Kind::Host, || format!("cannot make a directory in `{}`", lap_dir(root).display()))?;
    for (path, content) in &store {
        write(staging.path(), path, content)?;
    }
    Keys::load(staging.path()).map_err(|e| {
        // Names the place in the archive: the staging directory means nothing to anybody.
        let why = e.message.replace(&format!("{}/", staging.path().display()), "");
        damaged(file, &why)
    })?;

    let dir = keys_dir(root);
    let here = files::list(&dir)?;
    if here.is_empty() {
        // An empty directory may be in the way; one that is not empty makes the rename fail, and nothing is lost.
        let _ = fs::remove_dir(&dir);
        fs::rename(staging.path(), &dir).or_error(Kind::Host, || format!("cannot make `{}`", dir.display()))?;
        files::sync_parent(&dir)?;
        return Ok(Imported { added: store.keys().map(|p| p.display().to_string()).collect() });
    }
    let (mut differ, mut renewed) = (Vec::new(), Vec::new());
    for path in here.iter().filter(|p| store.contains_key(*p)) {
        let present = files::read_private(&dir.join(path))?;
        match present {
            Some(present) if *present == *store[path] => {}
            // The same authority: its certificate was signed again.
            Some(present) if certificate::is_same_authority(&present, &store[path]) => {
                if certificate::is_better(&store[path], &present, time::OffsetDateTime::now_utc()) {
                    renewed.push(path.clone());
                }
            }
            _ => differ.push(format!("`{}`", path.display())),
        }
    }
    if !differ.is_empty() {
        let message = format!("this workspace has other keys than `{}`: {}", file.display(), differ.join(", "));
        return Err(Error::new(Kind::Refused, message)
            .hint(format!("if you no longer need the present keys, move `{}` away first", dir.display())));
    }
    let mut added = Vec::new();
    for (path, content) in store.iter().filter(|(p, _)| !here.contains(p)) {
        write(&dir, path, content)?;
        added.push(path.display().to_string());
    }
    for path in renewed {
        files::replace(&dir.join(&path), &store[&path], 0o600)?;
        added.push(path.display().to_string());
    }
    Ok(Imported { added })
}

fn write(dir: &Path, path: &Path, content: &[u8]) -> Result<()> {
    let path = dir.join(path);
    files::private_dir(path.parent().unwrap_or(dir))?;
    files::write_new(&path, content, 0o600)
}

/// Staging directories of killed imports: they hold keys. The caller has the lock, so none is in use.
fn sweep_staging(root: &Path) {
    for entry in fs::read_dir(lap_dir(root)).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(STAGING) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// One archive of all of them; `at` is when they were packed.
pub(super) fn pack(dir: &Path, at: u64) -> Result<Zeroizing<Vec<u8>>> {
    let what = || "cannot pack the keys".to_owned();
    // Large enough from the start: growing would leave copies of the keys in memory.
    let mut archive = tar::Builder::new(Vec::with_capacity(1 << 20));
    for path in files::list(dir)?.into_iter().filter(|path| !dns::is_retired(path)) {
        if safe(&path).is_none() {
            let message = format!("`{}` is not a key: its name has unusual characters", dir.join(&path).display());
            return Err(Error::new(Kind::Keys, message).hint("move it out of the key store"));
        }
        let Some(content) = files::read_private(&dir.join(&path))? else { continue };
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(at);
        archive.append_data(&mut header, Path::new("keys").join(&path), &content[..]).or_error(Kind::Other, what)?;
    }
    Ok(Zeroizing::new(archive.into_inner().or_error(Kind::Other, what)?))
}

/// What the passphrase opens; `file` is for messages.
pub(super) fn decrypt(cipher: &[u8], passphrase: &Passphrase, file: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let decryptor = decryptor(cipher, file)?;
    if !decryptor.is_scrypt() {
        return Err(damaged(file, "it is not protected by a passphrase"));
    }
    let mut identity = age::scrypt::Identity::new(passphrase.for_age());
    identity.set_max_work_factor(MOST_WORK);
    plain(decryptor, &identity, cipher.len(), file)
}

/// What this identity opens.
pub(super) fn decrypt_for(cipher: &[u8], identity: &dyn age::Identity, file: &Path) -> Result<Zeroizing<Vec<u8>>> {
    plain(decryptor(cipher, file)?, identity, cipher.len(), file)
}

type Decryptor<'a> = age::Decryptor<Cursor<&'a [u8]>>;

fn decryptor<'a>(cipher: &'a [u8], file: &Path) -> Result<Decryptor<'a>> {
    age::Decryptor::new_buffered(Cursor::new(cipher)).map_err(|e| match e {
        age::DecryptError::Io(_) => damaged(file, "it is truncated"),
        _ => damaged(file, "it is not an age file"),
    })
}

fn plain(
    decryptor: Decryptor<'_>,
    identity: &dyn age::Identity,
    size: usize,
    file: &Path,
) -> Result<Zeroizing<Vec<u8>>> {
    use age::DecryptError::{DecryptionFailed, ExcessiveWork, KeyDecryptionFailed};
    let mut reader = decryptor.decrypt(std::iter::once(identity)).map_err(|e| match e {
        DecryptionFailed | KeyDecryptionFailed => {
            Error::new(Kind::Keys, format!("the passphrase does not open `{}`", file.display()))
        }
        ExcessiveWork { .. } => damaged(file, "its decryption needs too much work"),
        _ => damaged(file, "its header was changed"),
    })?;
    let mut plain = Zeroizing::new(Vec::with_capacity(size));
    reader.read_to_end(&mut plain).map_err(|_| damaged(file, "it is truncated or was changed"))?;
    Ok(plain)
}

/// Takes an archive apart in memory: only plain files in `keys/` with plain names get out of here.
fn unpack(plain: &[u8]) -> std::result::Result<Store, &'static str> {
    let broken = "its archive is broken";
    let mut store = Store::new();
    for entry in tar::Archive::new(plain).entries().map_err(|_| broken)? {
        let mut entry = entry.map_err(|_| broken)?;
        match entry.header().entry_type() {
            tar::EntryType::Directory => continue,
            tar::EntryType::Regular => {}
            _ => return Err("its archive contains an entry that is not a file"),
        }
        let path = entry.path().map_err(|_| broken)?.into_owned();
        let path =
            path.strip_prefix("keys").ok().and_then(safe).ok_or("its archive contains a path that is not a key's")?;
        let size = usize::try_from(entry.size()).ok().filter(|s| *s <= plain.len()).ok_or(broken)?;
        let mut content = Zeroizing::new(Vec::with_capacity(size));
        entry.read_to_end(&mut content).map_err(|_| broken)?;
        if store.insert(path, content).is_some() {
            return Err("its archive contains a file twice");
        }
    }
    if store.is_empty() { Err("there are no keys in it") } else { Ok(store) }
}

/// The path, if it is one that a store may have: one to four plain names, none hidden, nothing like `..`.
fn safe(path: &Path) -> Option<PathBuf> {
    let parts: Vec<_> = path.components().collect();
    let plain = |part: &Component<'_>| {
        let Component::Normal(name) = part else { return false };
        let name = name.as_encoded_bytes();
        name.len() <= 255
            && !name.starts_with(b".")
            && name.iter().all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(b))
    };
    ((1..=4).contains(&parts.len()) && parts.iter().all(plain)).then(|| path.to_owned())
}

pub(super) fn damaged(file: &Path, why: &str) -> Error {
    Error::new(Kind::Keys, format!("`{}` is not a usable key export: {why}", file.display()))
        .hint("ask your colleague for a new `lap keys export`")
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;
