//! Detects that a file was replaced. It polls with `stat` four times a second, which works on every kind of mount and
//! costs little. inotify does not work on every kind of mount.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use lap_base::Result;

use super::shared::Shared;

const PERIOD: Duration = Duration::from_millis(250);

/// The metadata that changes when a file is replaced or rewritten. `None` means that the file does not exist.
type Stamp = Option<(u64, u64, i64, i64, i64)>;

fn stamp(file: &Path) -> Stamp {
    let m = std::fs::metadata(file).ok()?;
    Some((m.ino(), m.size(), m.mtime(), m.mtime_nsec(), m.ctime_nsec()))
}

/// A watch on one file. Make it before you read the file: then it also detects a change during the read.
pub struct FileWatch {
    file: PathBuf,
    last: Stamp,
    reload: fn(&Shared, &Path) -> Result<String>,
}

impl FileWatch {
    /// Watches `names.json`.
    pub fn names(file: PathBuf) -> Self {
        Self { last: stamp(&file), file, reload: |shared, _| shared.reload() }
    }

    /// Watches the file of keys.
    pub fn keys(file: PathBuf) -> Self {
        Self { last: stamp(&file), file, reload: Shared::reload_keys }
    }

    /// Loads every new version, without end. If a version is not valid, this is logged once, and the version before
    /// stays in effect.
    pub async fn follow(mut self, shared: Arc<Shared>) {
        loop {
            tokio::time::sleep(PERIOD).await;
            let now = stamp(&self.file);
            if now == self.last {
                continue;
            }
            self.last = now;
            let (shared, file, reload) = (shared.clone(), self.file.clone(), self.reload);
            // A large file takes time to load, and this would block an async thread.
            let done = tokio::task::spawn_blocking(move || match reload(&shared, &file) {
                Ok(summary) => shared.audit.say(&format!("reloaded: {summary}")),
                Err(error) => shared.audit.say(&format!("{error}; the old file stays in effect")),
            });
            let _ = done.await;
        }
    }
}
