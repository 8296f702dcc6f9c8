//! Reads the files of a key store; what is wrong with one is said with its name and never with its content.

use std::path::Path;

use lap_base::{Error, Kind, Result, secret::Secret};
use rcgen::KeyPair;

use super::{authority::Authority, files, ssh::SshKey};

pub(super) fn ssh_key(path: &Path) -> Result<Option<SshKey>> {
    let Some(content) = files::read_private(path)? else { return Ok(None) };
    SshKey::parse(&content).map(Some).map_err(|why| damaged(path, why))
}

pub(super) fn key_pair(path: &Path) -> Result<Option<KeyPair>> {
    let Some(content) = files::read_private(path)? else { return Ok(None) };
    let pem = std::str::from_utf8(&content).map_err(|_| damaged(path, "it is not text"))?;
    // The library's own message could quote the key.
    KeyPair::from_pem(pem).map(Some).map_err(|_| damaged(path, "it is not a private key in PEM"))
}

pub(super) fn authority(dir: &Path, name: &str) -> Result<Authority> {
    let (crt, key) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
    let certificate = files::read_public(&crt)?.ok_or_else(|| missing(&crt))?;
    let pair = key_pair(&key)?.ok_or_else(|| missing(&key))?;
    Authority::parse(&certificate, pair).map_err(|why| damaged(&crt, why))
}

pub(super) fn password(path: &Path) -> Result<Secret> {
    let content = files::read_private(path)?.ok_or_else(|| missing(path))?;
    let text = std::str::from_utf8(&content).map_err(|_| damaged(path, "it is not text"))?.trim_end();
    if text.len() < 16 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(damaged(path, "it is not one line of 16 characters or more"));
    }
    Ok(Secret::new(text.to_owned()))
}

pub(super) fn missing(path: &Path) -> Error {
    Error::new(Kind::Keys, format!("key `{}` is missing", path.display()))
        .hint("run `lap keys import FILE` to add missing keys from a colleague's `lap keys export`")
        .hint("or `lap keys new` to complete an interrupted `lap keys new`; it keeps existing keys")
}

pub(super) fn damaged(path: &Path, why: &str) -> Error {
    Error::new(Kind::Keys, format!("key `{}` is damaged: {why}", path.display()))
        .hint("move it away, then restore it with `lap keys import FILE` from a `lap keys export`")
}
