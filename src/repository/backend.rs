//! rustic_core on top of a [`Storage`].

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use bytes::Bytes;
use rustic_core::{BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend};

use super::{File, Folder, Storage, warnings};

/// So many packs are in memory at the same time: a restore asks for twenty.
const PACKS: usize = 3;

/// What the library reads and writes through.
pub struct Backend {
    storage: Arc<dyn Storage>,
    name: String,
    packs: Arc<Places>,
    /// No snapshot is written once the library has said something.
    strict: bool,
}

impl Backend {
    /// `name` is for messages.
    pub fn new(storage: Arc<dyn Storage>, name: &str, strict: bool) -> Self {
        Self { storage, name: name.to_owned(), packs: Arc::default(), strict }
    }

    fn failed(&self, what: &str, file: &str, error: &std::io::Error) -> Box<RusticError> {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "it is not there".to_owned(),
            std::io::ErrorKind::UnexpectedEof => "it is shorter than it was: it is damaged".to_owned(),
            std::io::ErrorKind::StorageFull => "no space is left there".to_owned(),
            _ => error.to_string(),
        };
        RusticError::new(ErrorKind::Backend, format!("cannot {what} `{file}` of `{}`: {why}", self.name))
    }

    fn whole(&self, file: &File) -> RusticResult<Bytes> {
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

fn file(kind: FileType, id: &Id) -> File {
    File::new(folder(kind), id.to_hex().as_str()).unwrap_or_else(File::config)
}

impl ReadBackend for Backend {
    fn location(&self) -> String {
        self.name.clone()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let folder = folder(kind);
        let all = self.storage.list(folder).map_err(|error| self.failed("read", folder.name(), &error))?;
        let id = |file: &File| match folder {
            Folder::Config => Ok(Id::default()),
            _ => file.path().rsplit('/').next().unwrap_or_default().parse(),
        };
        all.into_iter().map(|(file, size)| Ok((id(&file)?, u32::try_from(size).unwrap_or(u32::MAX)))).collect()
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        // Of packs the check says more than that they are damaged.
        if kind != FileType::Pack {
            return self.whole(&file(kind, id));
        }
        let file = file(kind, id);
        self.storage.read(&file, None).map_err(|error| self.failed("read", &file.path(), &error))
    }

    fn read_partial(&self, kind: FileType, id: &Id, cacheable: bool, offset: u32, length: u32) -> RusticResult<Bytes> {
        let file = file(kind, id);
        let place = (kind == FileType::Pack && !cacheable).then(|| self.packs.take());
        let range = Some((offset.into(), length.into()));
        let bytes = self.storage.read(&file, range).map_err(|error| self.failed("read", &file.path(), &error))?;
        Ok(match place {
            Some(place) => Bytes::from_owner(Kept { bytes, _place: place }),
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
            // A snapshot in which something is missing must never be listed.
            warnings::clean().map_err(|error| RusticError::new(ErrorKind::InputOutput, error.message))?;
        }
        let file = file(kind, id);
        self.storage.write(&file, content.slice()).map_err(|error| self.failed("write", &file.path(), &error))
    }

    fn remove(&self, kind: FileType, id: &Id, _cacheable: bool) -> RusticResult<()> {
        Err(RusticError::new(
            ErrorKind::Backend,
            format!("lap does not remove `{}` of `{}`", file(kind, id), self.name),
        ))
    }
}

/// Bytes of a pack, and the place they take.
struct Kept {
    bytes: Bytes,
    _place: Place,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[derive(Default)]
struct Places {
    taken: Mutex<usize>,
    freed: Condvar,
}

struct Place(Arc<Places>);

impl Places {
    /// Waits until there is one.
    fn take(self: &Arc<Self>) -> Place {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self.freed.wait_while(taken, |taken| *taken >= PACKS).unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Place(self.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.freed.notify_one();
    }
}
