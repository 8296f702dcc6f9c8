//! Puts files where the protocol allows it: each written beside, synced, renamed, so that no reader sees half a file;
//! the directory itself stays, because running containers may have it mounted.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Component, Path, PathBuf},
};

use lap_base::{
    durable::{self, remove_file, write_file},
    error::{Error, Kind, OrError, Result},
    state::{self, State, Unreadable},
};
use sha2::{Digest, Sha256};

use super::system::failpoint;
use crate::wire::{paths, protocol::InstallTarget};

/// The directory of a place.
///
/// # Errors
/// The name in it is not one path component.
pub fn directory(place: &InstallTarget) -> Result<PathBuf> {
    let (base, name) = match place {
        InstallTarget::Env(digest) => (paths::ENV, Some(digest)),
        InstallTarget::Checks(digest) => (paths::CHECKS, Some(digest)),
        InstallTarget::Secrets(container) => (paths::SECRETS, Some(container)),
        InstallTarget::Trust => (paths::TRUST, None),
        InstallTarget::Names => (paths::NAMES, None),
        InstallTarget::Policy => (paths::POLICY, None),
        InstallTarget::Ssh => (paths::SSH, None),
        InstallTarget::State => (paths::STATE, None),
        InstallTarget::Staged(what) => (paths::STAGED, Some(what)),
    };
    let Some(name) = name else { return Ok(base.into()) };
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(_)), None) => Ok(Path::new(base).join(name)),
        _ => Err(Error::new(Kind::Refused, format!("`{name}` is not a plain file name"))),
    }
}

/// Makes an archive the content of its place. Returns path → sha256 of what it held.
///
/// # Errors
/// As [`unpack`].
pub fn put(place: &InstallTarget, bytes: &[u8]) -> Result<BTreeMap<String, String>> {
    let dir = directory(place)?;
    match place {
        // Whole or not there: running containers keep the one they were started with.
        InstallTarget::Env(_) | InstallTarget::Checks(_) => {
            let new = dir.with_extension("lap-new");
            let _ = fs::remove_dir_all(&new);
            let files = unpack(bytes, &new, false)?;
            if dir.exists() {
                let _ = fs::remove_dir_all(&new);
            } else {
                durable::publish(&new, &dir).or_error(Kind::Node, || format!("cannot rename `{}`", new.display()))?;
            }
            Ok(files)
        }
        InstallTarget::Trust => {
            let new = dir.with_extension("lap-new");
            let _ = fs::remove_dir_all(&new);
            unpack(bytes, &new, false)?;
            // What a container trusts: what the node trusts, and the lab.
            let node = Path::new("/etc/ssl/certs/ca-certificates.crt");
            let mut bundle = match fs::read(node) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
                read => read.or_error(Kind::Node, || format!("cannot read `{}`", node.display()))?,
            };
            bundle.push(b'\n');
            bundle.extend(state::bytes(&new.join("root.crt")).value_or_refuse()?.unwrap_or_default());
            make(&dir)?;
            write_file(&dir.join("ca-certificates.crt"), &bundle, 0o644)?;
            let _ = fs::remove_dir_all(&new);
            // Last what is compared: after a kill in between, all of it is done again.
            unpack(bytes, &dir, false)
        }
        InstallTarget::Secrets(_) | InstallTarget::Staged(_) | InstallTarget::Names | InstallTarget::Policy => {
            unpack(bytes, &dir, true)
        }
        InstallTarget::Ssh | InstallTarget::State => unpack(bytes, &dir, false),
    }
}

/// Makes the files in `tar` the content of `dir`. For a place that belongs to lap alone (`whole`), files that are not
/// in the archive are removed. Returns path → sha256 of what the archive held.
///
/// # Errors
/// The archive is damaged or has a path that leaves `dir`; a file cannot be written. Files already renamed stay.
pub fn unpack(tar: &[u8], dir: &Path, whole: bool) -> Result<BTreeMap<String, String>> {
    let broken = || "cannot read the sent data".to_owned();
    make(dir)?;
    let mut files = BTreeMap::new();
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries().or_error(Kind::Other, broken)? {
        let mut entry = entry.or_error(Kind::Other, broken)?;
        let path = entry.path().or_error(Kind::Other, broken)?.into_owned();
        if path.components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(Error::new(Kind::Refused, format!("the path `{}` leads out of its directory", path.display())));
        }
        let target = dir.join(&path);
        match entry.header().entry_type() {
            tar::EntryType::Directory => make(&target)?,
            tar::EntryType::Regular => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).or_error(Kind::Other, broken)?;
                target.parent().map_or(Ok(()), make)?;
                let mode = entry.header().mode().unwrap_or(0o600) & 0o777;
                failpoint::at(&format!("write {}", path.display()));
                write_file(&target, &bytes, mode)?;
                files.insert(path.to_string_lossy().into_owned(), hex::encode(Sha256::digest(&bytes)));
            }
            other => {
                return Err(Error::new(Kind::Refused, format!("`{}` is a {other:?}, not a file", path.display())));
            }
        }
    }
    if whole {
        let (there, unreadable) = hashes(dir);
        let stale = there.into_keys().filter(|path| !files.contains_key(path)).map(|path| dir.join(path));
        let is_directory = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
        let unreadable = unreadable.into_iter().map(|it| it.path).filter(|path| !is_directory(path));
        for path in stale.chain(unreadable) {
            remove_file(&path)?;
        }
    }
    Ok(files)
}

fn make(dir: &Path) -> Result<()> {
    durable::create_dir_all(dir).or_error(Kind::Node, || format!("cannot make `{}`", dir.display()))
}

/// Path → sha256 of every file below `dir`, and what cannot be read; nothing if there is no such directory.
pub fn hashes(dir: &Path) -> (BTreeMap<String, String>, Vec<Unreadable>) {
    let (mut out, mut unreadable) = (BTreeMap::new(), Vec::new());
    let mut left = vec![dir.to_path_buf()];
    while let Some(here) = left.pop() {
        let (names, why) = state::names(&here).value_and_complaint();
        unreadable.extend(why);
        for path in names.into_iter().flatten().map(|name| here.join(name)) {
            if fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir()) {
                left.push(path);
            } else if path.extension().is_none_or(|e| e != "lap-new") {
                match state::bytes(&path) {
                    State::Absent => {}
                    State::Value(bytes) => {
                        let name = path.strip_prefix(dir).unwrap_or(&path).to_string_lossy().into_owned();
                        out.insert(name, hex::encode(Sha256::digest(&bytes)));
                    }
                    State::Unreadable(why) => unreadable.push(why),
                }
            }
        }
    }
    (out, unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lap_base::archive::pack;

    #[test]
    fn a_place_becomes_what_was_sent() {
        let dir = tempfile::tempdir().unwrap();
        let first = pack([("tls.key", 0o600, &b"old"[..]), ("tls.crt", 0o644, b"crt")]).unwrap();
        unpack(&first, dir.path(), true).unwrap();
        let second = pack([("tls.key", 0o600, &b"new"[..])]).unwrap();
        let files = unpack(&second, dir.path(), true).unwrap();
        assert_eq!(hashes(dir.path()), (files, Vec::new()));
        assert_eq!(fs::read(dir.path().join("tls.key")).unwrap(), b"new");
        assert!(!dir.path().join("tls.crt").exists());
    }

    #[test]
    fn nothing_leaves_its_place() {
        assert!(directory(&InstallTarget::Secrets("../ssh".into())).is_err());
        assert!(directory(&InstallTarget::Env("..".into())).is_err());
        let dir = tempfile::tempdir().unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..7].copy_from_slice(b"../evil");
        header.set_size(1);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, &b"x"[..]).unwrap();
        let error = unpack(&tar.into_inner().unwrap(), &dir.path().join("in"), false).unwrap_err();
        assert_eq!(error.kind, Kind::Refused);
        assert!(!dir.path().join("evil").exists());
    }
}
