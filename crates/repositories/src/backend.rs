//! The backend for rustic_core on top of a [`Storage`].

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use bytes::Bytes;
use rustic_core::{BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend};

use super::{
    file::{Folder, RepositoryFile},
    key_slot::KeySlot,
    storage::Storage,
    warnings,
};

/// The number of packs that may be in memory at the same time. A restore asks for up to twenty.
const MAX_PACKS: usize = 3;

/// The maximum size in bytes of the cached packs with directories. rustic_core asks for one directory at a time, and
/// each request over the network takes long.
const MAX_CACHED: usize = 32 << 20;

/// The backend through which rustic_core reads and writes a repository.
pub struct Backend {
    storage: Arc<dyn Storage>,
    name: String,
    packs: Arc<PackLimit>,
    directories: Mutex<DirectoryCache>,
    /// Whether a warning of rustic_core prevents the write of a snapshot.
    strict: bool,
    /// The key slot whose keys are tried first, because each try takes a second.
    slot: KeySlot,
}

impl Backend {
    /// Makes a backend. `name` appears in messages only.
    pub fn new(storage: Arc<dyn Storage>, name: &str, strict: bool, slot: KeySlot) -> Self {
        Self { storage, name: name.to_owned(), packs: Arc::default(), directories: Mutex::default(), strict, slot }
    }

    fn failed(&self, what: &str, file: &str, error: &std::io::Error) -> Box<RusticError> {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "missing".to_owned(),
            std::io::ErrorKind::UnexpectedEof => "it is truncated: it is damaged".to_owned(),
            std::io::ErrorKind::StorageFull => "the disk there is full".to_owned(),
            _ => error.to_string(),
        };
        RusticError::new(ErrorKind::Backend, format!("cannot {what} `{file}` of `{}`: {why}", self.name))
    }

    /// Returns a pack with directories, from the cache if possible. Returns `None` if it is too large for the cache.
    fn directories(&self, file: &RepositoryFile) -> RusticResult<Option<Bytes>> {
        let mut kept = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.too_large.contains(file) {
            return Ok(None);
        }
        if let Some(pack) = kept.get(file) {
            return Ok(Some(pack));
        }
        let pack = self.storage.read(file, None).map_err(|error| self.failed("read", &file.path(), &error))?;
        kept.keep(file, &pack);
        Ok(Some(pack))
    }

    fn whole(&self, file: &RepositoryFile) -> RusticResult<Bytes> {
        let bytes = self.storage.read(file, None).map_err(|error| self.failed("read", &file.path(), &error))?;
        if file.is(std::slice::from_ref(&bytes)) {
            return Ok(bytes);
        }
        Err(RusticError::new(ErrorKind::Backend, format!("`{file}` of `{}` is damaged", self.name)))
    }
}

fn folder(kind: FileType) -> Folder {
    match kind {
        FileType::Config => Folder::Config,
        FileType::Index => Folder::Index,
        FileType::Key => Folder::Keys,
        FileType::Snapshot => Folder::Snapshots,
        FileType::Pack => Folder::Data,
    }
}

fn file(kind: FileType, id: &Id) -> RepositoryFile {
    RepositoryFile::new(folder(kind), id.to_hex().as_str()).unwrap_or_else(RepositoryFile::config)
}

impl ReadBackend for Backend {
    fn location(&self) -> String {
        self.name.clone()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let folder = folder(kind);
        let mut all = self.storage.list(folder).map_err(|error| self.failed("read", folder.name(), &error))?;
        if folder == Folder::Keys {
            all.sort_by_cached_key(|(file, _)| {
                // Only the order: one that cannot be read is tried last, and then says why.
                KeySlot::of(self.storage.as_ref(), file).ok().flatten() != Some(self.slot)
            });
        }
        let id = |file: &RepositoryFile| match folder {
            Folder::Config => Ok(Id::default()),
            _ => file.path().rsplit('/').next().unwrap_or_default().parse(),
        };
        all.into_iter().map(|(file, size)| Ok((id(&file)?, u32::try_from(size).unwrap_or(u32::MAX)))).collect()
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        // A damaged pack is not refused here, because the check reports more details about it.
        if kind != FileType::Pack {
            return self.whole(&file(kind, id));
        }
        let file = file(kind, id);
        self.storage.read(&file, None).map_err(|error| self.failed("read", &file.path(), &error))
    }

    fn read_partial(&self, kind: FileType, id: &Id, cacheable: bool, offset: u32, length: u32) -> RusticResult<Bytes> {
        let file = file(kind, id);
        if kind == FileType::Pack
            && cacheable
            && let Some(pack) = self.directories(&file)?
        {
            let (from, to) = (offset as usize, offset as usize + length as usize);
            let short = || self.failed("read", &file.path(), &std::io::ErrorKind::UnexpectedEof.into());
            return if to <= pack.len() { Ok(pack.slice(from..to)) } else { Err(short()) };
        }
        let permit = (kind == FileType::Pack && !cacheable).then(|| self.packs.take());
        let range = Some((offset.into(), length.into()));
        let bytes = self.storage.read(&file, range).map_err(|error| self.failed("read", &file.path(), &error))?;
        Ok(match permit {
            Some(permit) => Bytes::from_owner(CountedBytes { bytes, _permit: permit }),
            None => bytes,
        })
    }

    fn warmup_path(&self, kind: FileType, id: &Id) -> String {
        file(kind, id).path()
    }
}

impl WriteBackend for Backend {
    fn create(&self) -> RusticResult<()> {
        self.storage.make().map_err(|error| self.failed("make", "the directory", &error))
    }

    fn write_bytes(&self, kind: FileType, id: &Id, _cacheable: bool, content: BytesList) -> RusticResult<()> {
        if self.strict && kind == FileType::Snapshot {
            // A snapshot with missing files must never be listed.
            warnings::clean().map_err(|error| RusticError::new(ErrorKind::InputOutput, error.message))?;
        }
        let file = file(kind, id);
        self.storage.write(&file, content.slice()).map_err(|error| self.failed("write", &file.path(), &error))
    }

    fn remove(&self, kind: FileType, id: &Id, _cacheable: bool) -> RusticResult<()> {
        let file = file(kind, id);
        self.storage.remove(&file).map_err(|error| self.failed("remove", &file.path(), &error))
    }
}

/// The cache of packs with directories. The last one was used most recently.
#[derive(Default)]
struct DirectoryCache {
    packs: VecDeque<(RepositoryFile, Bytes)>,
    too_large: HashSet<RepositoryFile>,
}

impl DirectoryCache {
    fn get(&mut self, file: &RepositoryFile) -> Option<Bytes> {
        let at = self.packs.iter().position(|(known, _)| known == file)?;
        let found = self.packs.remove(at)?;
        let pack = found.1.clone();
        self.packs.push_back(found);
        Some(pack)
    }

    fn keep(&mut self, file: &RepositoryFile, pack: &Bytes) {
        if pack.len() > MAX_CACHED / 4 {
            self.too_large.insert(file.clone());
            return;
        }
        self.packs.push_back((file.clone(), pack.clone()));
        while self.packs.iter().map(|(_, pack)| pack.len()).sum::<usize>() > MAX_CACHED {
            self.packs.pop_front();
        }
    }
}

/// The bytes of a pack, with the permit that counts them.
struct CountedBytes {
    bytes: Bytes,
    _permit: PackPermit,
}

impl AsRef<[u8]> for CountedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[derive(Default)]
struct PackLimit {
    taken: Mutex<usize>,
    freed: Condvar,
}

struct PackPermit(Arc<PackLimit>);

impl PackLimit {
    /// Waits until there are fewer than [`MAX_PACKS`] packs in memory.
    fn take(self: &Arc<Self>) -> PackPermit {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken =
            self.freed.wait_while(taken, |taken| *taken >= MAX_PACKS).unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        PackPermit(self.clone())
    }
}

impl Drop for PackPermit {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.freed.notify_one();
    }
}
