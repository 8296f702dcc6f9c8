//! What writers feel while something is done to the pool, measured two ways at the same time: a probe that writes 4 KiB and calls
//! fsync(2) over and over beside the data, so that there is an answer also when nobody writes; and the containers' own threads,
//! looked at in /proc about every millisecond: how long one stood still waiting for the disk (state D, see proc(5)).
//!
//! Not the kernel's pressure figures: they do not count who waits for a file system's commit, and need control groups v2.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Between two writes of the probe, and between two looks where there are few threads.
const BETWEEN: Duration = Duration::from_millis(1);
/// Between two looks where there are very many.
const SELDOM: Duration = Duration::from_millis(20);
/// How often new processes are looked for.
const RESCAN: Duration = Duration::from_millis(50);

/// What was measured.
#[derive(Debug, Default)]
pub struct IoLatency {
    /// The longest write of the probe; `None`: it cannot write.
    pub probe: Option<Duration>,
    /// By the id of the container, the longest that one of its threads waited.
    pub stood: BTreeMap<String, Duration>,
}

/// Does `work`, which may block, and measures; the probe's file lies in `directory` and is gone afterwards.
pub fn during<T>(directory: &Path, work: impl FnOnce() -> T) -> (T, IoLatency) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (ready, begun) = channel();
        let also_ready = ready.clone();
        let probe = scope.spawn(|| probe(directory, &done, ready));
        let watch = scope.spawn(|| watch(&done, also_ready));
        // Both: what is over after a few milliseconds would end before they look at it. One that cannot measure hangs up.
        let _ = begun.recv().and_then(|()| begun.recv());
        // Also when the work panics: the threads are waited for.
        let end = End(&done);
        let result = work();
        drop(end);
        let felt = IoLatency { probe: probe.join().unwrap_or(None), stood: watch.join().unwrap_or_default() };
        (result, felt)
    })
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn probe(directory: &Path, done: &AtomicBool, ready: Sender<()>) -> Option<Duration> {
    let path = directory.join("probe");
    let file = File::create(&path).ok()?;
    let write = || file.write_all_at(&[0x5a; 4096], 0).and_then(|()| file.sync_all());
    let mut longest = None;
    // The first makes the file's place on the disk.
    if write().is_ok() {
        let _ = ready.send(());
        // Once at least: where others are at the processor, the work may be over before this thread has its next turn.
        loop {
            let begun = Instant::now();
            if write().is_err() {
                longest = None;
                break;
            }
            longest = longest.max(Some(begun.elapsed()));
            if done.load(Ordering::Acquire) {
                break;
            }
            thread::sleep(BETWEEN);
        }
    }
    let _ = fs::remove_file(&path);
    longest
}

fn watch(done: &AtomicBool, ready: Sender<()>) -> BTreeMap<String, Duration> {
    let mut stood = BTreeMap::new();
    let mut threads: BTreeMap<PathBuf, Thread> = BTreeMap::new();
    scan(&mut threads);
    let mut scanned = Instant::now();
    let _ = ready.send(());
    drop(ready);
    while !done.load(Ordering::Acquire) {
        if scanned.elapsed() > RESCAN {
            scan(&mut threads);
            scanned = Instant::now();
        }
        let begun = Instant::now();
        for (task, thread) in &mut threads {
            if let Some(waited) = thread.waited(task) {
                let longest = stood.entry(thread.container.clone()).or_insert(Duration::ZERO);
                *longest = waited.max(*longest);
            }
        }
        // A fifth of one core at most, besides the scans: whoever measures must not be what is felt.
        thread::sleep((begun.elapsed() * 4).clamp(BETWEEN, SELDOM));
    }
    stood
}

/// A thread of a container.
struct Thread {
    container: String,
    /// While it waits: how often it had run before, and since when it was seen so.
    waits: Option<(String, Instant)>,
}

impl Thread {
    /// How long it has been waiting, if it does.
    fn waited(&mut self, task: &Path) -> Option<Duration> {
        let stat = fs::read_to_string(task.join("stat")).unwrap_or_default();
        if !waits_for_disk(&stat) {
            self.waits = None;
            return None;
        }
        // "run time, wait time, how often it ran": as long as the last is the same, it did not move in between.
        let ran = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
        let ran = ran.split_whitespace().nth(2).unwrap_or_default();
        match &self.waits {
            Some((before, since)) if before == ran => Some(since.elapsed()),
            _ => {
                self.waits = Some((ran.to_owned(), Instant::now()));
                None
            }
        }
    }
}

/// The state stands behind the name, which may have any character in it.
fn waits_for_disk(stat: &str) -> bool {
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('D'))
}

/// Finds all threads of containers; those that are known go on.
fn scan(threads: &mut BTreeMap<PathBuf, Thread>) {
    let mut found = BTreeMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if !process.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let groups = fs::read_to_string(process.path().join("cgroup")).unwrap_or_default();
        let Some(container) = container(&groups) else { continue };
        for task in fs::read_dir(process.path().join("task")).into_iter().flatten().flatten() {
            let path = task.path();
            let known = threads.remove(&path);
            found.insert(path, known.unwrap_or_else(|| Thread { container: container.to_owned(), waits: None }));
        }
    }
    *threads = found;
}

/// The container's id in `/proc/<pid>/cgroup`: the last part of a path that is one (a node has an id of its own above it).
fn container(groups: &str) -> Option<&str> {
    let is_id = |part: &&str| part.len() == 64 && part.bytes().all(|b| b.is_ascii_hexdigit());
    let part = |line: &str| -> Option<String> { line.rsplit('/').find(is_id).map(str::to_owned) };
    let id = groups.lines().find_map(part)?;
    groups.find(&id).map(|at| &groups[at..at + id.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_found_behind_any_name() {
        assert!(waits_for_disk("12 (a) R (b) D 1 12 12 0"));
        assert!(!waits_for_disk("12 (a) D (b) S 1 12 12 0"));
        assert!(!waits_for_disk(""));
    }

    #[test]
    fn a_container_is_known_by_its_group() {
        let (node, inner) = ("a".repeat(64), "b".repeat(64));
        let v1 = format!("4:memory:/docker/{node}/docker/{inner}\n1:name=systemd:/x\n");
        assert_eq!(container(&v1), Some(inner.as_str()));
        assert_eq!(container(&format!("0::/docker/{inner}/init\n")), Some(inner.as_str()));
        assert_eq!(container("0::/init\n"), None);
    }

    #[test]
    fn a_probe_tells_how_long_its_writes_took_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        // However short the work is.
        let (said, felt) = during(dir.path(), || "done");
        assert_eq!(said, "done");
        assert!(felt.probe.is_some_and(|longest| longest > Duration::ZERO));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let (_, felt) = during(&dir.path().join("nowhere"), || ());
        assert_eq!(felt.probe, None);
    }
}
