//! Another program that writes and calls fsync(2) all the time, as a database does. Each call makes the file system write names of others,
//! too, at a moment that they did not choose. btrfs writes such files beside its transactions (the log tree), so the program also takes
//! snapshots of a subvolume of its own, as podman and buildkit do: each ends a transaction, with all names and without the content of files.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use lap_snapshots::volume;

use super::log::Log;

/// Below the pool.
const PLACES: [&str; 2] = ["busy", "state/busy"];

/// Makes its files.
pub fn prepare(pool: &Path) {
    for place in PLACES {
        fs::create_dir_all(pool.join(place)).unwrap();
        fs::write(pool.join(place).join("number"), 0_u64.to_be_bytes()).unwrap();
    }
    volume::create(&pool.join(PLACES[0]).join("layer")).unwrap();
}

/// It runs as long as this lives.
pub struct Busy {
    stop: Arc<AtomicBool>,
    /// Positions in the log with what was on the disk by then.
    done: Arc<Mutex<Vec<(usize, u64)>>>,
    thread: Option<JoinHandle<()>>,
}

impl Busy {
    pub fn begin(pool: &Path, directories: &[&str], log: &Arc<Log>) -> Self {
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<(usize, u64)>>>::default());
        let open = |place: &&str| File::options().write(true).open(pool.join(place).join("number")).unwrap();
        let files: Vec<File> = PLACES.iter().map(open).collect();
        let directories: Vec<PathBuf> = directories.iter().map(|name| pool.join(name)).collect();
        let (log, pool) = (log.clone(), pool.to_owned());
        let (stopped, noted) = (stop.clone(), done.clone());
        let thread = thread::spawn(move || {
            let mut number = 0_u64;
            while !stopped.load(Ordering::Relaxed) {
                number += 1;
                for file in &files {
                    file.write_all_at(&number.to_be_bytes(), 0).unwrap();
                    file.sync_data().unwrap();
                }
                directories.iter().for_each(|directory| sync_all(directory));
                if number.is_multiple_of(4) {
                    // A new name, which takes the names before it along.
                    for place in PLACES {
                        fs::write(pool.join(place).join("new"), number.to_be_bytes()).unwrap();
                        fs::rename(pool.join(place).join("new"), pool.join(place).join("renamed")).unwrap();
                        sync(&pool.join(place));
                    }
                    let (layer, copy) = (pool.join(PLACES[0]).join("layer"), pool.join(PLACES[0]).join("copy"));
                    volume::copy(&layer, &copy).unwrap();
                    volume::delete(&copy).unwrap();
                }
                noted.lock().unwrap().extend(log.position().map(|position| (position, number)));
            }
        });
        Self { stop, done, thread: Some(thread) }
    }

    /// Lets it go on until it has done all it does once more, then ends it. Gives what it was told is on the disk, and when.
    pub fn end(mut self) -> Vec<(usize, u64)> {
        let done = || self.done.lock().unwrap().len();
        let before = done();
        while done() < before + 9 && self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            thread::sleep(Duration::from_millis(1));
        }
        self.join();
        std::mem::take(&mut *self.done.lock().unwrap())
    }

    fn join(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the other program's writes succeed");
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What it was told is on the disk is there.
pub fn check(pool: &Path, done: &[(usize, u64)], at: usize) -> Result<(), String> {
    let least = done.iter().rev().find(|(position, _)| *position <= at).map_or(0, |(_, number)| *number);
    for place in PLACES {
        let bytes = fs::read(pool.join(place).join("number")).map_err(|error| format!("{place}/number: {error}"))?;
        let number = u64::from_be_bytes(bytes.try_into().map_err(|bytes| format!("{place}/number: {bytes:?}"))?);
        if number < least {
            return Err(format!("{place}/number is {number}, and {least} was on the disk"));
        }
    }
    Ok(())
}

fn sync(directory: &Path) {
    File::open(directory).unwrap().sync_all().unwrap();
}

/// Writes the names in a directory and in those below it to the disk. They may be removed at any time.
fn sync_all(directory: &Path) {
    let Ok(open) = File::open(directory) else { return };
    let _ = open.sync_all();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sync_all(&entry.path());
        }
    }
}
