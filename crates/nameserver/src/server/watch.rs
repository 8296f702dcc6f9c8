//! Notices that a file was replaced. By looking, not by inotify: looking is certain on every kind of mount, and four `stat`
//! calls a second cost nothing.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use lap_base::Result;

use super::shared::Shared;

const PERIOD: Duration = Duration::from_millis(250);

/// What changes when a file is replaced or rewritten; `None`: there is none.
type Stamp = Option<(u64, u64, i64, i64, i64)>;

fn stamp(file: &Path) -> Stamp {
    let m = std::fs::metadata(file).ok()?;
    Some((m.ino(), m.size(), m.mtime(), m.mtime_nsec(), m.ctime_nsec()))
}

/// A watch on one file, from the moment it is made. Make it before reading the file: a change in between is then seen.
pub struct FileWatch {
    file: PathBuf,
    last: Stamp,
    reload: fn(&Shared, &Path) -> Result<String>,
}

impl FileWatch {
    /// On `names.json`.
    pub fn names(file: PathBuf) -> Self {
        Self { last: stamp(&file), file, reload: |shared, _| shared.reload() }
    }

    /// On the file of keys.
    pub fn keys(file: PathBuf) -> Self {
        Self { last: stamp(&file), file, reload: Shared::reload_keys }
    }

    /// Has every new version taken over, for ever. A version that is no good is said once, and what was there before stays.
    pub async fn follow(mut self, shared: Arc<Shared>) {
        loop {
            tokio::time::sleep(PERIOD).await;
            let now = stamp(&self.file);
            if now == self.last {
                continue;
            }
            self.last = now;
            let (shared, file, reload) = (shared.clone(), self.file.clone(), self.reload);
            // A big file takes a while, which belongs to no async thread.
            let done = tokio::task::spawn_blocking(move || match reload(&shared, &file) {
                Ok(summary) => shared.audit.say(&format!("reloaded: {summary}")),
                Err(error) => shared.audit.say(&format!("{error}; the old file stays in effect")),
            });
            let _ = done.await;
        }
    }
}
