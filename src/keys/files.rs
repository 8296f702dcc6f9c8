//! Files of the key store: written whole or not at all, readable by their owner only.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use lap_base::{Error, Kind, OrError, Result};
use zeroize::Zeroizing;

/// Temporary files start like this: whatever lists the store passes over them, and the next writer sweeps them away.
const TEMPORARY: &str = ".tmp";

/// Makes a directory (and what is above it) that only its owner may enter; one that exists keeps its mode.
pub(super) fn private_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .or_error(Kind::Host, || format!("cannot make directory `{}`", path.display()))?;
    sync_parent(path)
}

/// Writes a file that is not there yet: a temporary file beside it has its mode from the start, is synced, then named.
///
/// # Errors
/// [`Kind::Refused`] when the file exists; it is left as it is. [`Kind::Host`] when the disk refuses.
pub(super) fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let file = temporary(path, content, mode)?;
    match file.persist_noclobber(path) {
        Ok(_) => sync_parent(path),
        Err(e) if e.error.kind() == ErrorKind::AlreadyExists => {
            Err(Error::new(Kind::Refused, format!("`{}` exists already", path.display())))
        }
        Err(e) => Err(cannot("write", path, &e.error)),
    }
}

/// As [`write_new`], but takes the place of a file that is there.
pub(super) fn replace(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let file = temporary(path, content, mode)?;
    keep_owner(path, &file).or_error(Kind::Host, || format!("cannot set the owner of `{}`", path.display()))?;
    file.persist(path).map_err(|e| cannot("write", path, &e.error))?;
    sync_parent(path)
}

/// With sudo, the new file would be root's, and its owner could not read it.
fn keep_owner(path: &Path, new: &tempfile::NamedTempFile) -> io::Result<()> {
    let old = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        old => old?,
    };
    let is = new.as_file().metadata()?;
    if (is.uid(), is.gid()) == (old.uid(), old.gid()) {
        return Ok(());
    }
    match fchown(new.as_file(), Some(old.uid()), Some(old.gid())) {
        // Only root gives files away. What an operator may replace stays with the operator.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        changed => changed,
    }
}

fn temporary(path: &Path, content: &[u8], mode: u32) -> Result<tempfile::NamedTempFile> {
    let what = || format!("cannot write `{}`", path.display());
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(parent(path))
        .or_error(Kind::Host, what)?;
    // The umask may have taken bits away that others need (a certificate that everybody should read).
    file.as_file().set_permissions(fs::Permissions::from_mode(mode)).or_error(Kind::Host, what)?;
    file.write_all(content).or_error(Kind::Host, what)?;
    file.as_file().sync_all().or_error(Kind::Host, what)?;
    Ok(file)
}

/// A new name is only durable once its directory is.
pub(super) fn sync_parent(path: &Path) -> Result<()> {
    let dir = parent(path);
    File::open(dir)
        .and_then(|d| d.sync_all())
        .or_error(Kind::Host, || format!("cannot sync directory `{}`", dir.display()))
}

/// A bare file name has an empty parent, which means the current directory.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Reads a private file; `None` when there is none.
///
/// # Errors
/// [`Kind::Keys`] when others may read it, or it cannot be read.
pub(super) fn read_private(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let Some(mut file) = open(path)? else { return Ok(None) };
    let meta = file.metadata().map_err(|e| unreadable(path, &e))?;
    // Asked of the open file, so that nobody can change it in between.
    if meta.mode() & 0o077 != 0 {
        let message = format!("`{}` can be read by others (mode {:04o})", path.display(), meta.mode() & 0o7777);
        return Err(Error::new(Kind::Keys, message).hint(format!("run `chmod 600 {}`", path.display())));
    }
    // With the whole size reserved nothing is moved, so no copy of the secret is left behind unwiped.
    let mut content = Zeroizing::new(Vec::with_capacity(meta.len() as usize + 1));
    file.read_to_end(&mut content).map_err(|e| unreadable(path, &e))?;
    Ok(Some(content))
}

/// Reads a public file; `None` when there is none. What is not UTF-8 is damaged.
pub(super) fn read_public(path: &Path) -> Result<Option<String>> {
    let Some(mut file) = open(path)? else { return Ok(None) };
    let mut content = String::new();
    file.read_to_string(&mut content).map_err(|e| unreadable(path, &e))?;
    Ok(Some(content))
}

fn open(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(unreadable(path, &e)),
    }
}

/// Holds off every other process that would write the store, until dropped (or killed: the kernel lets go).
pub(super) struct StoreLock(#[expect(dead_code, reason = "held for its lock")] File);

/// Waits for the store's lock. It lies beside the store, because an import puts the whole store in place by a rename.
pub(super) fn lock(lap_dir: &Path) -> Result<StoreLock> {
    let path = lap_dir.join("keys.lock");
    let what = || format!("cannot lock `{}`", path.display());
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path).or_error(Kind::Host, what)?;
    file.lock().or_error(Kind::Host, what)?;
    Ok(StoreLock(file))
}

/// Every key file below `dir`, as paths relative to it, sorted. Hidden files (temporary ones among them) do not count.
pub(super) fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    walk(dir, dir, &mut |relative, hidden| {
        if !hidden {
            found.push(relative.to_path_buf());
        }
    })?;
    found.sort();
    Ok(found)
}

/// Removes what a killed writer left behind. Only for who holds the lock.
pub(super) fn sweep(dir: &Path) -> Result<()> {
    walk(dir, dir, &mut |relative, hidden| {
        let name = relative.file_name().unwrap_or_default().to_string_lossy();
        if hidden && name.starts_with(TEMPORARY) {
            // Not worth failing for: it is only in the way of tidiness.
            let _ = fs::remove_file(dir.join(relative));
        }
    })
}

fn walk(top: &Path, dir: &Path, visit: &mut dyn FnMut(&Path, bool)) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(unreadable(dir, &e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| unreadable(dir, &e))?;
        let path = entry.path();
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        // A link is not followed: what it names is not part of the store's tree.
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            walk(top, &path, visit)?;
        } else {
            visit(path.strip_prefix(top).unwrap_or(&path), hidden);
        }
    }
    Ok(())
}

fn cannot(verb: &str, path: &Path, cause: &std::io::Error) -> Error {
    Error::new(Kind::Host, format!("cannot {verb} `{}`: {cause}", path.display()))
}

/// What cannot be read is a key that is missing, not a machine that is broken.
fn unreadable(path: &Path, cause: &std::io::Error) -> Error {
    Error::new(Kind::Keys, format!("cannot read `{}`: {cause}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_new_file_has_its_mode_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/key");
        private_dir(path.parent().unwrap()).unwrap();
        write_new(&path, b"one", 0o600).unwrap();
        assert_eq!(write_new(&path, b"two", 0o600).unwrap_err().kind, Kind::Refused);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(list(dir.path()).unwrap(), [Path::new("a/b/key")]);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_replaced_file_keeps_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write_new(&path, b"one", 0o600).unwrap();
        // As with sudo: root replaces the file of a user. Without root, there is only one owner.
        let of_user = fs::metadata(&path).unwrap().uid() == 0;
        if of_user {
            std::os::unix::fs::chown(&path, Some(1234), Some(1235)).unwrap();
        }
        let owner = || fs::metadata(&path).map(|meta| (meta.uid(), meta.gid())).unwrap();
        let before = owner();
        replace(&path, b"two", 0o600).unwrap();
        assert_eq!((owner(), mode(&path)), (before, 0o600));
        assert_eq!(of_user, owner() == (1234, 1235));
        replace(&dir.path().join("new"), b"one", 0o600).unwrap();
    }

    #[test]
    fn leftovers_do_not_count_and_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".tmpA1b2"), "half a key").unwrap();
        fs::write(dir.path().join(".keep"), "").unwrap();
        assert!(list(dir.path()).unwrap().is_empty());
        sweep(dir.path()).unwrap();
        assert!(!dir.path().join(".tmpA1b2").exists() && dir.path().join(".keep").exists());
    }

    #[test]
    fn a_private_file_that_others_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for open in [0o640, 0o604, 0o660] {
            let _ = fs::remove_file(&path);
            write_new(&path, b"topsecret", open).unwrap();
            let error = read_private(&path).unwrap_err();
            assert_eq!(error.kind, Kind::Keys);
            assert!(error.hints[0].contains("chmod 600") && !error.message.contains("topsecret"), "{error:?}");
        }
        assert!(read_private(&dir.path().join("none")).unwrap().is_none());
    }
}
