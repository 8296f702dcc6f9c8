//! Tests against real file systems and stock restic. They run one at a time, because rustic_core's warnings are global
//! to the process.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use bytes::Bytes;
use lap_base::{error::Result, secret::Secret};
use lap_snapshots as snapshot;
use lap_snapshots::{Filesystem, Meta, Reason, half};

use super::{
    directory::DirectoryStorage,
    restore::{here, job},
    work::{CopySource, CopyStats, copy, fetch},
    *,
};

use self::pool::{Nobody, Pool, sh};

mod access;
pub(crate) mod forge;
mod forged;
mod nested;
mod ordered;
#[path = "../../snapshots/src/tests/pool.rs"]
mod pool;
mod pruned;
mod relayed;
mod s3;

static TURN: Mutex<()> = Mutex::new(());

/// A node's pool, and a repository beside it.
struct Office {
    pool: Pool,
    storage: Arc<dyn Storage>,
    _turn: MutexGuard<'static, ()>,
}

fn no_progress() -> OnProgress {
    Arc::new(|_: &str| {})
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

impl Office {
    fn new() -> Self {
        Self::with(|path| Arc::new(DirectoryStorage::new(path)))
    }

    fn with(storage: impl FnOnce(&Path) -> Arc<dyn Storage>) -> Self {
        Self::on(Filesystem::Btrfs, storage)
    }

    fn on(filesystem: Filesystem, storage: impl FnOnce(&Path) -> Arc<dyn Storage>) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let pool = Pool::on(filesystem);
        let storage = storage(&pool.dir.path().join("repository"));
        let office = Self { pool, storage, _turn: turn };
        Repository::make(office.storage.clone(), "office", &secret("pw"), no_progress()).unwrap();
        office
    }

    fn root(&self) -> PathBuf {
        self.pool.dir.path().join("repository")
    }

    fn open(&self) -> Repository {
        Repository::open(self.storage.clone(), "office", KeySlot::Lab, &secret("pw"), no_progress()).unwrap()
    }

    fn copy_through(&self, storage: Arc<dyn Storage>, id: &str) -> Result<CopyStats> {
        warnings::listen();
        let pool = self.pool.path();
        let repository = Repository::open_with(storage, "office", &self.open().key().unwrap(), true, no_progress())?;
        let order = snapshot::find(&pool, id).ok().and_then(|meta| meta.order);
        let generation = order.and_then(|order| Position::generation(&order, &repository.copies().unwrap_or_default()));
        let (lab, environment, node) = ("lab", "test", "test");
        copy(repository, &CopySource { pool: &pool, id, lab, environment, node, generation, asked: false })
    }

    fn copy(&self, id: &str) -> CopyStats {
        self.copy_through(self.storage.clone(), id).unwrap()
    }

    fn fetch(&self, meta: &Meta) -> Result<Meta> {
        warnings::listen();
        let found = self.open().copies_of("lab", "test")?.into_iter().find(|copy| copy.id == meta.id).unwrap();
        self.fetch_as(&found.id, &found.restic)
    }

    /// Fetches a copy as the agent's child does, but in this process and without confinement.
    fn fetch_as(&self, id: &snapshot::Id, restic: &str) -> Result<Meta> {
        warnings::listen();
        let restore = |half: &Path| here::here(self.open(), job::RestoreKind::Snapshot, restic, half);
        fetch("office", &self.pool.path(), id, None, restore)
    }

    fn take(&self, at: i64) -> Meta {
        self.pool.take_at(at, &mut Nobody).unwrap()
    }

    fn data(&self, meta: &Meta) -> PathBuf {
        snapshot::data(&self.pool.path(), &meta.id)
    }

    /// Copies a large file, calls `check`, removes the file, and fetches the copy again.
    fn copies_and_fetches_a_large_file(&self, check: impl Fn()) {
        fs::write(self.pool.path().join("data/git/big"), noise(4, 20 << 20)).unwrap();
        let meta = self.take(1_795_254_312);
        self.copy("latest");
        check();
        let kept = self.pool.path().join("kept");
        snapshot::volume::copy(&self.data(&meta), &kept).unwrap();
        snapshot::remove(&self.pool.path(), &meta.id).unwrap();
        fs::remove_file(self.pool.path().join("data/git/big")).unwrap();
        self.fetch(&meta).unwrap();
        same(&kept, &self.data(&meta));
        assert!(self.open().verify(Depth::Data(50.0)).unwrap().is_empty());
    }

    /// Runs stock restic, which must succeed, and returns its output.
    fn restic(&self, arguments: &[&str]) -> String {
        let output = Command::new("restic")
            .args(["--no-cache", "--repo"])
            .arg(self.root())
            .args(arguments)
            .env("RESTIC_PASSWORD", "pw")
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "restic {arguments:?}: {out}{err}");
        format!("{out}{err}")
    }

    fn packs(&self) -> Vec<PathBuf> {
        let all = self.storage.list(Folder::Data).unwrap();
        all.iter().map(|(file, _)| self.root().join(file.path())).collect()
    }
}

/// Restores the workspace as the child of `lap recover` does, but in this process.
fn workspace(repository: &Repository, into: &Path) -> Result<()> {
    warnings::listen();
    repository.workspace_by(into, |job| {
        let storage = repository.storage();
        let again = Repository::open_with(storage, &job.repository, &job.key, false, no_progress())?;
        here::here(again, job.what, &job.restic, into)
    })
}

/// Counts the names of each inode below `root`. On file systems other than btrfs, an inode may have more names in other
/// snapshots.
fn names(root: &Path, count: &mut BTreeMap<u64, u32>) {
    for entry in fs::read_dir(root).unwrap().flatten() {
        *count.entry(fs::symlink_metadata(entry.path()).unwrap().ino()).or_default() += 1;
        if entry.file_type().unwrap().is_dir() {
            names(&entry.path(), count);
        }
    }
}

/// Returns all attributes that a restore must preserve, by path.
fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut count = BTreeMap::new();
    names(root, &mut count);
    fn walk(
        root: &Path,
        below: &Path,
        (links, count): (&mut BTreeMap<u64, PathBuf>, &BTreeMap<u64, u32>),
        out: &mut BTreeMap<PathBuf, String>,
    ) {
        let path = root.join(below);
        let meta = fs::symlink_metadata(&path).unwrap();
        let kind = meta.file_type();
        let content = if kind.is_file() {
            hex::encode(<sha2::Sha256 as sha2::Digest>::digest(fs::read(&path).unwrap()))
        } else if kind.is_symlink() {
            format!("{:?}", fs::read_link(&path).unwrap())
        } else {
            format!("{} {}", kind.is_fifo(), meta.rdev())
        };
        let first =
            if meta.is_dir() { below.to_owned() } else { links.entry(meta.ino()).or_insert(below.to_owned()).clone() };
        let attributes = Command::new("getfattr").args(["-h", "-d", "-m", "-", "--absolute-names"]).arg(&path).output();
        let attributes = String::from_utf8_lossy(&attributes.unwrap().stdout).lines().skip(1).collect::<String>();
        let links_here = if meta.is_dir() { 0 } else { count[&meta.ino()] };
        let line = format!(
            "{:o} {}:{} {}.{:09} {links_here} {first:?} {content} {attributes}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec()
        );
        out.insert(below.to_owned(), line);
        if meta.is_dir() {
            let mut names: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            for name in names {
                walk(root, &below.join(name), (links, count), out);
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(root, Path::new(""), (&mut BTreeMap::new(), &count), &mut out);
    out
}

#[track_caller]
fn same(a: &Path, b: &Path) {
    let (a, b) = (tree(a), tree(b));
    for (path, line) in &a {
        assert_eq!(Some(line), b.get(path), "{}", path.display());
    }
    assert_eq!(a.len(), b.len(), "{:?}", b.keys().filter(|path| !a.contains_key(*path)).collect::<Vec<_>>());
}

/// Returns content that cannot be compressed. It is the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..length.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(length).collect()
}

/// Makes one of each kind of file.
fn furnish(data: &Path) {
    let at = |name: &str| data.join(name);
    let sh = |line: &str| sh("sh", &["-c", &format!("cd '{}' && {line}", data.display())]);
    fs::create_dir_all(at("git/deep/er")).unwrap();
    fs::write(at("git/big"), noise(1, 3 << 20)).unwrap();
    fs::write(at("git/deep/er/empty"), "").unwrap();
    sh("mkdir own && echo x >own/file && chown -R 1234:4321 own && chmod 4750 own/file && chmod 1777 own");
    sh("echo l >git/link1 && ln git/link1 git/link2 && ln git/link1 own/link3");
    sh("ln -s ../nowhere git/sym && chown -h 77:78 git/sym && mkfifo git/fifo && mknod git/null c 1 3");
    sh(
        "setfattr -n user.note -v hello git/big && setfattr -n trusted.t -v 1 own && printf x >\"$(printf 'git/\\377\\n')\"",
    );
    sh("truncate -s 40M git/sparse && echo end >>git/sparse");
    sh("touch -h -d '2001-02-03 04:05:06.123456789' git/sym git/big && touch -d '1999-01-01 00:00:00.5' own");
}

#[test]
fn a_copy_is_fetched_without_a_difference() {
    for filesystem in Filesystem::ALL {
        copies_and_fetches(&Office::on(filesystem, |path| Arc::new(DirectoryStorage::new(path))));
    }
}

fn copies_and_fetches(office: &Office) {
    furnish(&office.pool.path().join("data"));
    fs::write(office.pool.path().join("state/ledger"), "release 1").unwrap();
    let first = office.take(1_795_254_312);
    let copied = office.copy("latest");
    assert_eq!(copied.id, first.id);
    assert!(copied.added > 3 << 20, "{copied:?}");

    // Stock restic can list, check and restore the copy.
    let list = office.restic(&["snapshots"]);
    for word in ["lap:test", &format!("lap-id:{}", first.id), "lap-lab:lab", "/lap", "2026-11-21"] {
        assert!(list.contains(word), "{word}: {list}");
    }
    assert!(office.restic(&["check", "--read-data"]).contains("no errors were found"));
    let elsewhere = office.pool.path().join("elsewhere");
    office.restic(&["restore", "latest", "--target", elsewhere.to_str().unwrap()]);
    same(&office.data(&first), &elsewhere.join("lap/data"));
    let described: Meta = serde_json::from_slice(&fs::read(elsewhere.join("lap/meta.json")).unwrap()).unwrap();
    assert_eq!(described, first);
    assert_eq!(fs::read_to_string(elsewhere.join("lap/state/ledger")).unwrap(), "release 1");
    assert_eq!(fs::read_dir(office.pool.path().join("snapshots")).unwrap().count(), 1, "no staged directory remains");
    fs::remove_dir_all(elsewhere).unwrap();

    // A second copy sends the changed data and little more.
    office.pool.write("git/new", "new");
    office.pool.write("own/file", "changed");
    let second = office.take(1_795_254_400);
    let copied = office.copy(&second.id.to_string());
    assert!(copied.added < 100_000, "{copied:?}");
    let copies = office.open().copies_of("lab", "test").unwrap();
    assert_eq!(copies.iter().map(|copy| &copy.id).collect::<Vec<_>>(), [&first.id, &second.id]);

    // A fetch over an existing snapshot …
    let kept = office.pool.path().join("kept");
    snapshot::volume::copy(&office.data(&first), &kept).unwrap();
    snapshot::remove(&office.pool.path(), &first.id).unwrap();
    let fetched = office.fetch(&first).unwrap();
    assert_eq!((fetched.reason, &fetched.by, fetched.at), (Reason::Fetched, &first.by, first.at));
    same(&kept, &office.data(&first));
    assert!(office.fetch(&first).unwrap_err().message.contains("is on the node already"));
    // … does not read unchanged files, …
    let changed = snapshot::diff(&office.pool.path(), &kept, &office.data(&first)).unwrap();
    assert!(!changed.iter().any(|difference| difference.path.ends_with("git/big")), "{changed:?}");

    // … also works over completely different data …
    snapshot::remove(&office.pool.path(), &first.id).unwrap();
    snapshot::remove(&office.pool.path(), &second.id).unwrap();
    let data = office.pool.path().join("data");
    sh(
        "sh",
        &[
            "-c",
            &format!(
                "cd '{}' && rm -rf git/deep git/fifo && echo x >git/deep && mkdir git/fifo git/sym.d && rm git/link2 && \
                 echo y >git/link2 && ln git/link2 git/other && yes | head -c 41943044 >git/sparse && \
                 setfattr -n user.more -v 1 own && ln -f git/big own/file",
                data.display()
            ),
        ],
    );
    office.fetch(&first).unwrap();
    same(&kept, &office.data(&first));
    let blocks = fs::metadata(office.data(&first).join("git/sparse")).unwrap().blocks();
    assert!(blocks < 1000, "holes remain holes: {blocks}");

    // … and without any data.
    snapshot::remove(&office.pool.path(), &first.id).unwrap();
    snapshot::volume::delete(&data).unwrap();
    snapshot::volume::create(&data).unwrap();
    office.fetch(&first).unwrap();
    same(&kept, &office.data(&first));
}

/// A storage that fails after a number of writes and removals.
struct FailingStorage {
    inner: Arc<dyn Storage>,
    left: AtomicI64,
}

impl Storage for FailingStorage {
    fn list(&self, folder: Folder) -> io::Result<Vec<(RepositoryFile, u64)>> {
        self.inner.list(folder)
    }

    fn read(&self, file: &RepositoryFile, range: Option<(u64, u64)>) -> io::Result<Bytes> {
        self.inner.read(file, range)
    }

    fn write(&self, file: &RepositoryFile, parts: &[Bytes]) -> io::Result<()> {
        if self.left.fetch_sub(1, Ordering::Relaxed) <= 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inner.write(file, parts)
    }

    fn remove(&self, file: &RepositoryFile) -> io::Result<()> {
        if self.left.fetch_sub(1, Ordering::Relaxed) <= 0 {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.inner.remove(file)
    }

    fn list_root(&self) -> io::Result<Option<Vec<String>>> {
        self.inner.list_root()
    }

    fn make(&self) -> io::Result<()> {
        self.inner.make()
    }
}

#[test]
fn a_second_try_does_not_send_the_same_data_again() {
    let office = Office::new();
    fs::write(office.pool.path().join("data/git/big"), noise(2, 40 << 20)).unwrap();
    office.take(1_795_254_312);
    let breaks = Arc::new(FailingStorage { inner: office.storage.clone(), left: AtomicI64::new(3) });
    let error = office.copy_through(breaks, "latest").unwrap_err();
    assert!(error.message.contains("the disk there is full"), "{error}");
    let sent: u64 = office.packs().iter().map(|pack| fs::metadata(pack).unwrap().len()).sum();
    assert!(sent > 16 << 20, "{sent}");
    assert!(office.open().copies().unwrap().is_empty(), "an incomplete copy is not listed");
    assert!(office.restic(&["check"]).contains("no errors were found"));
    let copied = office.copy("latest");
    assert!(copied.added + sent < 42 << 20, "{copied:?} after {sent}");
    assert!(office.restic(&["check", "--read-data"]).contains("no errors were found"));
    assert!(office.open().verify(Depth::Data(100.0)).unwrap().is_empty());
}

#[test]
fn damage_is_reported_and_never_restored() {
    let office = Office::new();
    fs::write(office.pool.path().join("data/git/big"), noise(3, 2 << 20)).unwrap();
    let meta = office.take(1_795_254_312);
    office.copy("latest");
    snapshot::remove(&office.pool.path(), &meta.id).unwrap();
    fs::remove_file(office.pool.path().join("data/git/big")).unwrap();
    let packs = office.packs();
    let pack = packs.iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    let name = pack.file_name().unwrap().to_str().unwrap();
    let whole = fs::read(pack).unwrap();

    // One byte is changed.
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(pack, &bytes).unwrap();
    assert!(
        office.open().verify(Depth::Structure).unwrap().is_empty(),
        "a check of the structure does not read the data"
    );
    let said = office.open().verify(Depth::Data(100.0)).unwrap();
    assert!(said.iter().any(|line| line.contains(&name[..8])), "{said:?}");
    let error = office.fetch(&meta).unwrap_err();
    assert!(error.message.contains("the repository `office`: ") && !error.message.contains('\n'), "{error}");
    assert!(snapshot::list(&office.pool.path()).unwrap().is_empty());
    assert_eq!(office.pool.left_over(), Vec::<String>::new());

    // The pack is truncated, and then removed.
    fs::write(pack, &whole[..middle]).unwrap();
    let said = office.open().verify(Depth::Structure).unwrap();
    assert!(said.iter().any(|line| line.contains(&name[..8])), "{said:?}");
    fs::remove_file(pack).unwrap();
    let said = office.open().verify(Depth::Structure).unwrap();
    assert!(said.iter().any(|line| line.contains(&name[..8])), "{said:?}");
    let error = office.fetch(&meta).unwrap_err();
    assert!(error.message.contains(name) && error.message.contains("missing"), "{error}");
    assert_eq!(office.pool.left_over(), Vec::<String>::new());
    office.take(1_795_254_400);
    let error = office.copy_through(office.storage.clone(), "latest").unwrap_err();
    assert!(error.message.contains("is damaged") && error.message.contains(name), "{error}");

    // An index is damaged.
    fs::write(pack, &whole).unwrap();
    let (index, _) = office.storage.list(Folder::Index).unwrap().remove(0);
    let mut bytes = fs::read(office.root().join(index.path())).unwrap();
    bytes[20] ^= 1;
    fs::File::create(office.root().join(index.path())).unwrap().write_all(&bytes).unwrap();
    let error = office.fetch(&meta).unwrap_err();
    assert!(error.message.contains(&format!("`{index}` of `office` is damaged")), "{error}");
}

#[test]
fn each_problem_is_reported_in_one_sentence() {
    let office = Office::new();
    let again =
        |password| Repository::open(office.storage.clone(), "office", KeySlot::Lab, &secret(password), no_progress());
    let error = again("wrong").err().unwrap();
    assert_eq!(error.message, "the lab's repository password does not open `office`");
    assert_eq!(again("pw").unwrap().copies_of("lab", "test").unwrap(), []);
    office.take(1_795_254_312);
    office.copy("latest");
    let other = again("pw").unwrap().copies_of("other", "test").unwrap_err();
    assert_eq!(other.message, "`office` is the repository of another lab, `lab`");

    fs::write(office.root().join("locks").join("ab".repeat(32)), "x")
        .or_else(|_| {
            fs::create_dir(office.root().join("locks"))?;
            fs::write(office.root().join("locks").join("ab".repeat(32)), "x")
        })
        .unwrap();
    assert_eq!(
        again("pw").unwrap().lock(false).err().unwrap().message,
        "`office` is locked: a lock in it cannot be read"
    );

    let at = |path: &Path| -> Arc<dyn Storage> { Arc::new(DirectoryStorage::new(path)) };
    let nowhere = at(&office.pool.path().join("nowhere"));
    assert!(!Repository::is_there(&nowhere, "office").unwrap());
    let pool = at(&office.pool.path());
    assert_eq!(
        Repository::is_there(&pool, "office").unwrap_err().message,
        "`office` is not a repository, and not empty"
    );
    // A snapshot that is being copied cannot be removed.
    let (meta, pool) = (office.take(1_795_254_400), office.pool.path());
    assert_eq!(fs::metadata(office.root().join("config")).unwrap().permissions().mode() & 0o777, 0o600);
    let held = half::hold(&pool, &meta.id).unwrap();
    assert!(snapshot::remove(&pool, &meta.id).unwrap_err().message.contains("is being copied"));
    drop(held);
    snapshot::remove(&pool, &meta.id).unwrap();
}
