//! Opens and creates repositories, with lap's own error messages.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use lap_base::{
    error::{Error, Kind, OrError, Result},
    secret::Secret,
    words::bytes,
};
use rustic_core::{
    ConfigOptions, Credentials, OpenStatus, Progress, ProgressBars, ProgressType, RepositoryBackends,
    RepositoryOptions, RusticError, RusticProgress, RusticResult, repofile::MasterKey,
};

use super::{
    backend::Backend, file::Folder, key_slot::KeySlot, scope::is_repository_directory, storage::Storage,
    warnings::one_line,
};

/// A function that receives progress messages. It is cheap to clone.
pub type OnProgress = Arc<dyn Fn(&str) + Send + Sync>;

/// The size of packs in bytes. A restore has a few packs in memory, and larger ones are not faster.
const PACK_SIZE: u64 = 8 << 20;
/// The entries that may exist in a directory without a repository.
const OTHER_ENTRIES: [&str; 3] = ["keys", "tmp", "lost+found"];
/// The minimum time between two progress messages of one step.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// An open repository.
pub struct Repository {
    /// The name for messages.
    pub name: String,
    pub(super) inner: rustic_core::Repository<OpenStatus>,
    pub(super) storage: Arc<dyn Storage>,
}

impl Repository {
    /// Opens an existing repository with the password of the slot `slot`.
    ///
    /// # Errors
    /// There is no repository, it is damaged, or it has another password.
    pub fn open(
        storage: Arc<dyn Storage>,
        name: &str,
        slot: KeySlot,
        password: &Secret,
        tell: OnProgress,
    ) -> Result<Self> {
        let raw = raw(&storage, name, (false, slot), tell)?;
        let opened = guarded(name, || Ok(raw.open(&Credentials::password(password.expose()))))?;
        let inner = opened.map_err(|error| match error.is_incorrect_password() {
            true => slot.wrong_password(name),
            false => problem(name, &error),
        })?;
        Ok(Self { name: name.to_owned(), inner, storage })
    }

    /// Opens a repository with a key from [`Self::key`]. This needs less time and memory than a password. With
    /// `strict`, no snapshot is written after a warning (see `warnings`).
    ///
    /// # Errors
    /// The same as [`Self::open`].
    pub fn open_with(
        storage: Arc<dyn Storage>,
        name: &str,
        key: &Secret,
        strict: bool,
        tell: OnProgress,
    ) -> Result<Self> {
        let key: MasterKey =
            serde_json::from_str(key.expose()).or_error(Kind::Other, || "the repository's key".into())?;
        let raw = raw(&storage, name, (strict, KeySlot::Lab), tell)?;
        let inner = guarded(name, || raw.open(&Credentials::Masterkey(key)))?;
        Ok(Self { name: name.to_owned(), inner, storage })
    }

    /// Returns the key that encrypts the data. It is the same for every password.
    ///
    /// # Errors
    /// The key cannot be serialized.
    pub fn key(&self) -> Result<Secret> {
        serde_json::to_string(&self.inner.key())
            .map(Secret::new)
            .or_error(Kind::Other, || "the repository's key".into())
    }

    /// Returns whether there is a repository.
    ///
    /// # Errors
    /// The location cannot be read, or contains something else.
    pub fn is_there(storage: &Arc<dyn Storage>, name: &str) -> Result<bool> {
        let what = || format!("cannot read the repository `{name}`");
        if !storage.list(Folder::Config).or_error(Kind::Host, what)?.is_empty() {
            return Ok(true);
        }
        match storage.list_root().or_error(Kind::Host, what)? {
            None => Ok(false),
            // A creation that was killed before it wrote `config` leaves keys, which open nothing. Other entries are
            // repositories inside this directory.
            Some(entries)
                if entries
                    .iter()
                    .all(|entry| OTHER_ENTRIES.contains(&entry.as_str()) || is_repository_directory(entry)) =>
            {
                Ok(false)
            }
            Some(_) => Err(Error::new(Kind::Refused, format!("`{name}` is not a repository, and not empty"))),
        }
    }

    /// Creates a repository in an empty or a new directory.
    ///
    /// # Errors
    /// The location cannot be written.
    pub fn make(storage: Arc<dyn Storage>, name: &str, password: &Secret, tell: OnProgress) -> Result<Self> {
        storage.make().or_error(Kind::Host, || format!("cannot make the repository `{name}`"))?;
        let raw = raw(&storage, name, (false, KeySlot::Lab), tell)?;
        let options = ConfigOptions::default()
            .set_datapack_size(bytesize::ByteSize::b(PACK_SIZE))
            .set_datapack_growfactor(0_u32)
            .set_treepack_size(bytesize::ByteSize::b(PACK_SIZE / 2))
            // The extra verification would decrypt and unpack all data that was just encrypted, and needs a quarter of
            // the time. The names of the files reveal damage on the way. `verify --read-data` finds errors of this
            // machine.
            .set_extra_verify(false);
        let credentials = Credentials::password(password.expose());
        let inner = guarded(name, || raw.init(&credentials, &KeySlot::Lab.key(), &options))?;
        let made = Self { name: name.to_owned(), inner, storage };
        made.replace_lab_key(password)?;
        Ok(made)
    }

    /// Returns the storage of the repository's files.
    pub fn storage(&self) -> Arc<dyn Storage> {
        self.storage.clone()
    }
}

fn raw(
    storage: &Arc<dyn Storage>,
    name: &str,
    (strict, slot): (bool, KeySlot),
    tell: OnProgress,
) -> Result<rustic_core::Repository<()>> {
    let backends = RepositoryBackends::new(Arc::new(Backend::new(storage.clone(), name, strict, slot)), None);
    guarded(name, || {
        // There is no cache, so nothing of a repository remains on a machine.
        let options = RepositoryOptions::default().no_cache(true);
        rustic_core::Repository::new_with_progress(&options, &backends, Bars(tell))
    })
}

/// The maximum length of a panic's message, in characters.
const MAX_PANIC_TEXT: usize = 400;

/// Runs a function of rustic_core. A panic, for example about a damaged pack or a full disk, becomes an error.
///
/// # Errors
/// The error or the panic of rustic_core, on one line.
pub fn guarded<T>(name: &str, act: impl FnOnce() -> RusticResult<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(result) => result.map_err(|error| problem(name, &error)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(damaged(name, &text.unwrap_or_default()))
        }
    }
}

fn problem(name: &str, error: &RusticError) -> Error {
    Error::new(Kind::Node, format!("the repository `{name}`: {}", one_line(&error.display_log())))
}

fn damaged(name: &str, text: &str) -> Error {
    // A panic can print all data that rustic_core had in memory.
    let text: String = one_line(text).chars().take(MAX_PANIC_TEXT).collect();
    Error::new(Kind::Node, format!("the repository `{name}`: {text}"))
        .hint("`lap snapshot verify --read-data --from REPOSITORY` names the damaged files")
}

/// Reports rustic_core's progress as messages.
struct Bars(OnProgress);

impl std::fmt::Debug for Bars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bars")
    }
}

impl ProgressBars for Bars {
    fn progress(&self, kind: ProgressType, prefix: &str) -> Progress {
        if !matches!(kind, ProgressType::Bytes) {
            return Progress::hidden();
        }
        let title = prefix.trim_end_matches('.').to_owned();
        let last = Mutex::new(Instant::now());
        Progress::new(Bar { tell: self.0.clone(), title, done: AtomicU64::new(0), all: AtomicU64::new(0), last })
    }
}

struct Bar {
    tell: OnProgress,
    title: String,
    done: AtomicU64,
    all: AtomicU64,
    last: Mutex<Instant>,
}

impl std::fmt::Debug for Bar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.title)
    }
}

impl RusticProgress for Bar {
    fn is_hidden(&self) -> bool {
        false
    }

    fn set_length(&self, length: u64) {
        self.all.store(length, Ordering::Relaxed);
    }

    fn set_title(&self, _title: &str) {}

    fn inc(&self, more: u64) {
        let done = self.done.fetch_add(more, Ordering::Relaxed) + more;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= PROGRESS_INTERVAL {
            *last = Instant::now();
            let all = self.all.load(Ordering::Relaxed);
            (self.tell)(&format!("{}: {} of {}", self.title, bytes(done), bytes(all.max(done))));
        }
    }

    fn finish(&self) {}
}
