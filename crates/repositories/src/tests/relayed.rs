//! Tests of a repository behind a connection, as the agent's child uses it.

use std::{os::unix::net::UnixStream, thread::sleep, time::Duration};

use super::*;
use crate::{relay::Message, remote::Remote, storage::Storage};

/// A storage in which packs take some time, finish in any order, and may fail.
struct SlowStorage {
    inner: Arc<dyn Storage>,
    begun: AtomicI64,
    ended: AtomicI64,
    /// Decides by number and size whether a pack fails.
    fails: fn(i64, usize) -> bool,
    /// The files that were written before all started packs had finished.
    early: Mutex<Vec<RepositoryFile>>,
}

impl Storage for SlowStorage {
    fn list(&self, folder: Folder) -> io::Result<Vec<(RepositoryFile, u64)>> {
        self.inner.list(folder)
    }

    fn read(&self, file: &RepositoryFile, range: Option<(u64, u64)>) -> io::Result<Bytes> {
        self.inner.read(file, range)
    }

    fn write(&self, file: &RepositoryFile, parts: &[Bytes]) -> io::Result<()> {
        if file.folder != Folder::Data {
            if self.begun.load(Ordering::SeqCst) != self.ended.load(Ordering::SeqCst) {
                self.early.lock().unwrap().push(file.clone());
            }
            return self.inner.write(file, parts);
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_millis([90, 10, 50][number as usize % 3]));
        let fails = (self.fails)(number, parts.iter().map(Bytes::len).sum());
        let written = if fails { Err(io::ErrorKind::StorageFull.into()) } else { self.inner.write(file, parts) };
        self.ended.fetch_add(1, Ordering::SeqCst);
        written
    }

    fn remove(&self, file: &RepositoryFile) -> io::Result<()> {
        self.inner.remove(file)
    }

    fn list_root(&self) -> io::Result<Option<Vec<String>>> {
        self.inner.list_root()
    }

    fn make(&self) -> io::Result<()> {
        self.inner.make()
    }
}

/// Copies the newest snapshot over a connection.
fn copied(office: &Office, fails: fn(i64, usize) -> bool) -> (Result<CopyStats>, Arc<SlowStorage>) {
    let (begun, ended, early) = (AtomicI64::new(0), AtomicI64::new(0), Mutex::default());
    let slow = Arc::new(SlowStorage { inner: office.storage.clone(), begun, ended, fails, early });
    let (ours, theirs) = UnixStream::pair().unwrap();
    let storage: Arc<dyn Storage> = slow.clone();
    let served = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            theirs.set_nonblocking(true).unwrap();
            let stream = tokio::net::UnixStream::from_std(theirs).unwrap();
            relay::serve(stream, "test", storage, |_| ()).await
        })
    });
    let remote = Arc::new(Remote::until(ours, || ()).unwrap());
    let result = office.copy_through(remote.clone(), "latest");
    remote.say(&Message::Done, &[]).unwrap();
    assert!(matches!(served.join().unwrap(), Ok(line) if line.contains("done")));
    (result, slow)
}

fn furnished(seed: u64) -> Office {
    let office = Office::new();
    fs::write(office.pool.path().join("data/git/big"), noise(seed, 60 << 20)).unwrap();
    office.take(1_795_254_312);
    office
}

#[test]
fn an_index_is_written_after_all_its_packs() {
    let office = furnished(7);
    let (result, slow) = copied(&office, |_, _| false);
    result.unwrap();
    assert!(slow.begun.load(Ordering::SeqCst) > 5);
    assert_eq!(*slow.early.lock().unwrap(), []);
    assert!(office.restic(&["check", "--read-data"]).contains("no errors were found"));
}

#[test]
fn no_index_names_a_pack_that_did_not_arrive() {
    // The small pack contains directories. After it, only the index and the snapshot follow.
    let cases: [fn(i64, usize) -> bool; 3] =
        [|number, _| number == 0, |number, _| number == 4, |_, size| size < 64 << 10];
    for (case, fails) in cases.into_iter().enumerate() {
        let office = furnished(8);
        let error = copied(&office, fails).0.unwrap_err();
        assert!(error.message.contains("the disk there is full"), "case {case}: {error}");
        assert!(office.open().copies().unwrap().is_empty(), "an incomplete copy is not listed");
        assert!(office.restic(&["check"]).contains("no errors were found"));
        copied(&office, |_, _| false).0.unwrap();
        assert!(office.restic(&["check", "--read-data"]).contains("no errors were found"));
    }
}

/// Returns the storage that a node gets with these rights.
fn served(rights: Rights, storage: Arc<dyn Storage>) -> Arc<Remote> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            theirs.set_nonblocking(true).unwrap();
            let stream = tokio::net::UnixStream::from_std(theirs).unwrap();
            let _ = relay::serve(stream, "test", rights.over(storage), |_| ()).await;
        });
    });
    Arc::new(Remote::until(ours, || ()).unwrap())
}

#[test]
fn a_node_has_no_more_rights_than_its_request_needs() {
    let office = Office::new();
    let key = office.open().key().unwrap();
    let keys = office.storage.list(Folder::Keys).unwrap();
    let named = |folder, bytes: &Bytes| {
        RepositoryFile::new(folder, &hex::encode(<sha2::Sha256 as sha2::Digest>::digest(bytes)))
    };
    let bytes = Bytes::from_static(b"planted");
    for rights in [Rights::Read, Rights::Append] {
        let node = served(rights, office.storage.clone());
        // With a key file, an attacker could try passphrases. A lock file could block the operators.
        for folder in [Folder::Keys, Folder::Locks] {
            assert!(node.list(folder).unwrap_err().to_string().contains("a node may not read"), "{rights:?}");
            let file = named(folder, &bytes).unwrap();
            let error = node.write(&file, std::slice::from_ref(&bytes)).unwrap_err().to_string();
            assert!(error.contains("a node may not write"), "{rights:?}: {error}");
        }
        assert!(node.read(&keys[0].0, None).unwrap_err().to_string().contains("a node may not read"));
        assert!(node.write(&RepositoryFile::config(), std::slice::from_ref(&bytes)).is_err());
        assert!(node.remove(&keys[0].0).is_err() && node.make().is_err() && node.list_root().is_err());
        let snapshot = named(Folder::Snapshots, &bytes).unwrap();
        let written = node.write(&snapshot, std::slice::from_ref(&bytes));
        assert_eq!(written.is_ok(), rights == Rights::Append, "{rights:?}: {written:?}");
        assert_eq!(office.root().join(snapshot.path()).exists(), rights == Rights::Append);
        let _ = fs::remove_file(office.root().join(snapshot.path()));
        // The master key is enough to read the repository.
        Repository::open_with(node, "office", &key, false, no_progress()).unwrap().copies().unwrap();
    }
}
