//! Notices that `names.json` was replaced. By looking, not by inotify: looking is certain on every kind of mount, and
//! four `stat` calls a second cost nothing.

use std::{net::SocketAddr, os::unix::fs::MetadataExt, path::PathBuf, time::Duration};

use super::server::{Serving, Shared, say};

const PERIOD: Duration = Duration::from_millis(250);

/// What changes when a file is replaced or rewritten; `None`: there is none.
type Stamp = Option<(u64, u64, i64, i64, i64)>;

fn stamp(file: &PathBuf) -> Stamp {
    let m = std::fs::metadata(file).ok()?;
    Some((m.ino(), m.size(), m.mtime(), m.mtime_nsec(), m.ctime_nsec()))
}

/// A watch on one file, from the moment it is made, for a server that listens on `own`.
pub struct Watch {
    file: PathBuf,
    own: Vec<SocketAddr>,
    last: Stamp,
}

impl Watch {
    /// Make it before reading the file: a change in between is then seen.
    pub fn new(file: PathBuf, own: Vec<SocketAddr>) -> Self {
        Self { last: stamp(&file), own, file }
    }

    /// Swaps in every new version, for ever. A version that is no good is said once, and what was served stays.
    pub async fn follow(mut self, serving: Shared) {
        loop {
            tokio::time::sleep(PERIOD).await;
            let now = stamp(&self.file);
            if now == self.last {
                continue;
            }
            self.last = now;
            match Serving::load(&self.file, &self.own, Some(&serving.load())) {
                Ok(next) => {
                    say(&format!("reloaded: {}", next.summary()));
                    serving.store(next.into());
                }
                Err(error) => say(&format!("{error}; the names before it are still served")),
            }
        }
    }
}
