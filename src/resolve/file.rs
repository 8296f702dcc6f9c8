//! One file, as it is put back exactly: its bytes, its mode, its owner.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use lap_base::{Error, Kind, OrError, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A regular file's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Content {
    /// The same file with other bytes.
    pub fn with(&self, bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), ..self.clone() }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

fn to_base64<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&BASE64_STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    BASE64_STANDARD.decode(String::deserialize(from)?).map_err(serde::de::Error::custom)
}

/// Reads a file; `None` when there is none.
///
/// # Errors
/// [`Kind::Host`]: it cannot be read, or is no regular file.
pub fn read(path: &Path) -> Result<Option<Content>> {
    let what = || format!("cannot read `{}`", path.display());
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(e) => return Err(e).or_error(Kind::Host, what),
    };
    if !meta.is_file() {
        return Err(Error::new(Kind::Host, format!("`{}` is not a file", path.display())));
    }
    let bytes = fs::read(path).or_error(Kind::Host, what)?;
    Ok(Some(Content { bytes, mode: meta.mode() & 0o7777, uid: meta.uid(), gid: meta.gid() }))
}

/// Puts this content there, by renaming, so that nobody sees a half; where the file itself is a mount point (as Docker
/// makes resolv.conf in its containers) a rename is refused, and the bytes are written into it.
///
/// # Errors
/// [`Kind::Host`]: the file cannot be written; then it is as it was, or a beginning of the new one.
pub fn write(path: &Path, content: &Content) -> Result<()> {
    let what = || format!("cannot write `{}`", path.display());
    match by_rename(path, content) {
        Ok(()) => Ok(()),
        // Without room there would be half a file in its place.
        Err(e) if path.is_file() && !matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            sweep(path);
            in_place(path, content).or_error(Kind::Host, what)
        }
        Err(e) => {
            sweep(path);
            Err(e).or_error(Kind::Host, what)
        }
    }
}

fn by_rename(path: &Path, content: &Content) -> io::Result<()> {
    sweep(path);
    let new = beside(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&content.bytes)?;
    std::os::unix::fs::fchown(&file, Some(content.uid), Some(content.gid))?;
    // After the owner, whose change takes bits away; and in spite of the umask.
    file.set_permissions(fs::Permissions::from_mode(content.mode))?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_parent(path)
}

fn in_place(path: &Path, content: &Content) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
    file.write_all(&content.bytes)?;
    let meta = file.metadata()?;
    if (meta.uid(), meta.gid()) != (content.uid, content.gid) {
        std::os::unix::fs::fchown(&file, Some(content.uid), Some(content.gid))?;
    }
    if meta.mode() & 0o7777 != content.mode {
        file.set_permissions(fs::Permissions::from_mode(content.mode))?;
    }
    file.sync_all()
}

/// Removes a file; one that is gone is gone as wanted.
///
/// # Errors
/// [`Kind::Host`]: it cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        result => result
            .and_then(|()| sync_parent(path))
            .or_error(Kind::Host, || format!("cannot remove `{}`", path.display())),
    }
}

/// Removes what a killed [`write()`] left beside a file. Hidden, so that no program that reads the directory takes it.
pub fn sweep(path: &Path) {
    // Not worth failing for: the next write does, if it matters.
    let _ = fs::remove_file(beside(path));
}

/// The name a file has until it is whole.
pub fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.lap-new"))
}

/// A new name is only durable once its directory is.
fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}
