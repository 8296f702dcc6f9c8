//! Attacks of a hostile container on root. Each has a control run: the same attack on code without the protection succeeds, so the test would
//! notice if the protection were gone.

mod binds;
mod control;
mod every_path;
mod part;
mod pool;
mod registry;
mod reserve;

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

/// Exchanges two names, as a container does in its own data.
fn swap(a: &Path, b: &Path) {
    try_swap(a, b).unwrap();
}

fn try_swap(a: &Path, b: &Path) -> rustix::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)
}

fn fifo(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
}

/// Runs `work` while a container exchanges each pair of names as fast as it can; they are as they were afterwards.
fn while_swapping<T>(pairs: &[[std::path::PathBuf; 2]], work: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut odd = 0_u64;
            while !stop.load(Ordering::Relaxed) || odd % 2 == 1 {
                for [a, b] in pairs {
                    // Root may have taken one away: then the container does nothing.
                    let _ = try_swap(a, b);
                }
                odd += 1;
            }
        });
        // Also when the work panics: the thread is waited for.
        let end = End(&stop);
        let done = work();
        drop(end);
        done
    })
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Every file below `dir` with its content, without following links.
fn all_of(dir: &Path) -> Vec<(String, String)> {
    let (mut out, mut left) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(here) = left.pop() {
        for entry in fs::read_dir(&here).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            let name = entry.path().strip_prefix(dir).unwrap().display().to_string();
            if kind.is_dir() {
                left.push(entry.path());
            } else if kind.is_file() {
                out.push((name, String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned()));
            } else {
                out.push((name, "special".into()));
            }
        }
    }
    out.sort();
    out
}
