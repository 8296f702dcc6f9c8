//! restic's locks. They prevent a prune while another program copies, whichever of lap and restic it is. A lock is a
//! small encrypted file in `locks/` that exists while the program works. A program that adds files has a shared lock,
//! and a program that removes files has an exclusive lock.

use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use lap_base::{
    error::{Error, Kind, OrError, Result},
    words::ago,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    cipher::Cipher,
    file::{Folder, RepositoryFile},
    open::Repository,
    storage::Storage,
};

/// The interval at which a lock file is replaced by a new one. restic uses the same value.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// The age in seconds after which a lock file belongs to a dead process. restic uses the same value.
const MAX_AGE: i64 = 30 * 60;

/// The content of a lock file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct LockContent {
    time: String,
    exclusive: bool,
    hostname: String,
    username: String,
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
}

/// A lock. It is held until it is dropped.
pub struct RepositoryLock {
    end: Option<mpsc::Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Drop for RepositoryLock {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

impl Repository {
    pub(super) fn cipher(&self) -> Result<Cipher> {
        let rustic_core::repofile::MasterKey { mac, encrypt, .. } = self.inner.key();
        Cipher::new(&encrypt, &mac.k, &mac.r)
    }

    /// Takes a lock: an exclusive one for removing files, a shared one for adding files. First removes the locks of
    /// killed processes of this machine, and locks that were not renewed.
    ///
    /// # Errors
    /// Another program holds a lock that excludes this one. The message names its user, its host and the time.
    pub fn lock(&self, exclusive: bool) -> Result<RepositoryLock> {
        let key = self.cipher()?;
        let files = Locks { storage: self.storage.clone(), key, name: self.name.clone() };
        files.check(exclusive, None)?;
        let mine = files.write(exclusive)?;
        // If two programs take locks at the same time, each sees the other one, and both give up.
        if let Err(error) = files.check(exclusive, Some(&mine)) {
            files.remove(&mine);
            return Err(error);
        }
        let (end, ended) = mpsc::channel::<()>();
        let keeper = std::thread::spawn(move || {
            let mut mine = mine;
            while let Err(mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(RENEWAL_INTERVAL) {
                if let Ok(new) = files.write(exclusive) {
                    files.remove(&mine);
                    mine = new;
                }
            }
            files.remove(&mine);
        });
        Ok(RepositoryLock { end: Some(end), keeper: Some(keeper) })
    }

    /// Takes a shared lock for reading, if the repository can be written. If it cannot be written here (for example on
    /// a read-only disk), no other program can remove files there either.
    ///
    /// # Errors
    /// Another program holds an exclusive lock, or the locks cannot be read.
    pub fn lock_to_read(&self) -> Result<Option<RepositoryLock>> {
        Locks { storage: self.storage.clone(), key: self.cipher()?, name: self.name.clone() }.check(false, None)?;
        match self.lock(false) {
            Err(error) if error.kind == Kind::Host => Ok(None),
            lock => lock.map(Some),
        }
    }
}

struct Locks {
    storage: Arc<dyn Storage>,
    key: Cipher,
    name: String,
}

impl Locks {
    fn check(&self, exclusive: bool, mine: Option<&RepositoryFile>) -> Result<()> {
        let what = || format!("cannot read the repository `{}`", self.name);
        for (file, _) in self.storage.list(Folder::Locks).or_error(Kind::Host, what)? {
            if Some(&file) == mine {
                continue;
            }
            let content = match self.storage.read(&file, None) {
                // The other program has removed its lock in the meantime.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                bytes => self.read(&bytes.or_error(Kind::Host, what)?),
            };
            match content {
                Some(content) if is_dead(&content) => self.remove(&file),
                Some(content) if !content.exclusive && !exclusive => {}
                content => return Err(self.taken(content.as_ref())),
            }
        }
        Ok(())
    }

    fn taken(&self, content: Option<&LockContent>) -> Error {
        let by = content.map_or_else(
            || "a lock in it cannot be read".to_owned(),
            |content| {
                let since = at(content).map_or_else(String::new, |at| format!(", since {}", ago(now() - at)));
                format!("`{}@{}` uses it (process {}){since}", content.username, content.hostname, content.pid)
            },
        );
        let hint = match content {
            Some(_) => "`restic unlock` removes the lock of a killed process; lap removes it after 30 minutes",
            None => "if no program uses the repository, `restic unlock --remove-all` removes the lock",
        };
        Error::new(Kind::Locked, format!("`{}` is locked: {by}", self.name)).hint(hint)
    }

    fn read(&self, bytes: &[u8]) -> Option<LockContent> {
        serde_json::from_slice(&self.key.open(bytes)?).ok()
    }

    fn write(&self, exclusive: bool) -> Result<RepositoryFile> {
        let what = || format!("cannot lock the repository `{}`", self.name);
        let hostname = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
        let username = nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.name).unwrap_or_default();
        let time = OffsetDateTime::now_utc().format(&Rfc3339).or_error(Kind::Other, what)?;
        let (uid, gid) = (Some(uid.as_raw()), Some(gid.as_raw()));
        let content = LockContent { time, exclusive, hostname, username, pid: std::process::id(), uid, gid };
        let plain = serde_json::to_vec(&content).or_error(Kind::Other, what)?;
        let bytes = self.key.seal(&plain)?;
        let name = hex::encode(Sha256::digest(&bytes));
        let file = RepositoryFile::new(Folder::Locks, &name).ok_or_else(|| Error::new(Kind::Other, what()))?;
        self.storage.write(&file, &[bytes.into()]).or_error(Kind::Host, what)?;
        Ok(file)
    }

    fn remove(&self, file: &RepositoryFile) {
        // A lock that cannot be removed counts as dead after half an hour.
        let _ = self.storage.remove(file);
    }
}

fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

fn at(content: &LockContent) -> Option<i64> {
    OffsetDateTime::parse(&content.time, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp)
}

fn is_dead(content: &LockContent) -> bool {
    let here = nix::unistd::gethostname().is_ok_and(|name| name.to_string_lossy() == content.hostname);
    let alive = i32::try_from(content.pid).is_ok_and(|pid| {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None) != Err(nix::errno::Errno::ESRCH)
    });
    at(content).is_some_and(|at| now() - at > MAX_AGE) || (here && !alive)
}
