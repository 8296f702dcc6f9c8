//! A repository in a directory of this machine.

use std::{
    fs,
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use bytes::Bytes;
use lap_base::durable;

use super::{
    file::{Folder, RepositoryFile},
    storage::Storage,
};

/// The directory in which a file is written before it gets its name. restic ignores it.
const TEMPORARY: &str = "tmp";

/// A repository in the directory `root`.
pub struct DirectoryStorage {
    root: PathBuf,
    next: AtomicU32,
}

impl DirectoryStorage {
    /// Makes a storage for the directory `root`. Does not check that it exists.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), next: AtomicU32::new(0) }
    }

    fn listed(&self, folder: Folder, directory: &Path, out: &mut Vec<(RepositoryFile, u64)>) -> io::Result<()> {
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            match (name.to_str().and_then(|name| RepositoryFile::new(folder, name)), entry.metadata()?) {
                (Some(file), meta) if meta.is_file() => out.push((file, meta.len())),
                (None, meta) if meta.is_dir() && folder == Folder::Data && directory.ends_with("data") => {
                    self.listed(folder, &entry.path(), out)?;
                }
                // restic and lap did not write this file. It is ignored.
                _ => {}
            }
        }
        Ok(())
    }
}

impl Storage for DirectoryStorage {
    fn list(&self, folder: Folder) -> io::Result<Vec<(RepositoryFile, u64)>> {
        let mut out = Vec::new();
        if folder == Folder::Config {
            match fs::metadata(self.root.join("config")) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                meta => out.push((RepositoryFile::config(), meta?.len())),
            }
        } else {
            self.listed(folder, &self.root.join(folder.name()), &mut out)?;
        }
        Ok(out)
    }

    fn read(&self, file: &RepositoryFile, range: Option<(u64, u64)>) -> io::Result<Bytes> {
        let mut from = fs::File::open(self.root.join(file.path()))?;
        let Some((offset, length)) = range else {
            let mut all = Vec::new();
            from.read_to_end(&mut all)?;
            return Ok(all.into());
        };
        from.seek(SeekFrom::Start(offset))?;
        let mut part = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        from.read_exact(&mut part)?;
        Ok(part.into())
    }

    fn write(&self, file: &RepositoryFile, parts: &[Bytes]) -> io::Result<()> {
        let target = self.root.join(file.path());
        if target.exists() {
            return Ok(());
        }
        let directory = self.root.join(file.directory());
        let temporary = self.root.join(TEMPORARY);
        for directory in [&directory, &temporary] {
            durable::create_dir_all(directory)?;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let temporary = temporary.join(format!("{}-{number}", std::process::id()));
        let written = (|| {
            let mut to = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            parts.iter().try_for_each(|part| to.write_all(part))?;
            drop(to);
            durable::publish(&temporary, &target)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn remove(&self, file: &RepositoryFile) -> io::Result<()> {
        let path = self.root.join(file.path());
        match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            removed => removed?,
        }
        // The caller removes next what this file refers to. After a power cut, this file must not exist without it. No
        // other file depends on a removed pack.
        if file.folder == Folder::Data { Ok(()) } else { durable::sync_parent(&path) }
    }

    fn list_root(&self) -> io::Result<Option<Vec<String>>> {
        match fs::read_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            entries => {
                let mut all = Vec::new();
                for entry in entries? {
                    all.push(entry?.file_name().to_string_lossy().into_owned());
                }
                Ok(Some(all))
            }
        }
    }

    fn make(&self) -> io::Result<()> {
        match fs::create_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }
}
