//! An operation, recorded while another program calls fsync(2) all the time; then every cut of the recording is mounted and judged.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex},
};

use lap_snapshots::Filesystem;

use super::{
    busy::{self, Busy},
    disk::Disk,
    log::{Cut, Log},
    settings::Settings,
};
use crate::times::Timed;

/// What an operation tells while it runs: what it begins, and what it was told is done.
#[derive(Clone)]
pub struct Notes<T> {
    log: Arc<Log>,
    all: Arc<Mutex<Vec<(usize, T)>>>,
}

impl<T: Clone> Notes<T> {
    fn new(log: &Arc<Log>) -> Self {
        Self { log: log.clone(), all: Arc::default() }
    }

    /// Every power cut from now on comes after this. Nothing is noted once the recording has ended.
    pub fn note(&self, what: T) {
        let mut all = self.all.lock().unwrap();
        all.extend(self.log.position().map(|position| (position, what)));
    }

    fn before(&self, cut: Cut) -> Vec<T> {
        self.all.lock().unwrap().iter().filter(|(at, _)| *at <= cut.at).map(|(_, what)| what.clone()).collect()
    }
}

/// `Err`: what must not be.
pub type Verdict = Result<(), String>;
/// Recovers a pool.
type Recover<'a> = &'a dyn Fn(&Path) -> Verdict;
/// Judges a pool by what was noted.
type Check<'a, T> = &'a dyn Fn(&Path, &[T]) -> Verdict;

/// One operation under power cuts.
pub struct Campaign<'a, T> {
    pub name: &'a str,
    pub filesystem: Filesystem,
    /// Directories that the other program writes to the disk, too, with all below them.
    pub busy: &'a [&'a str],
    /// What there is before the recording begins; all of it is on the disk.
    pub prepare: &'a dyn Fn(&Path),
    /// The operation.
    pub run: &'a dyn Fn(&Path, &Notes<T>),
    /// Recovers only. With it, the recovery itself is cut, too.
    pub recover: Option<Recover<'a>>,
    /// Recovers, and judges what there is by what was noted before the cut.
    pub check: Check<'a, T>,
}

impl<T: Clone> Campaign<'_, T> {
    /// # Panics
    /// A cut leaves what must not be.
    pub fn play(&self) {
        let settings = Settings::read();
        let name = format!("{}-{}", self.name, self.filesystem);
        if settings.is_done(&name) {
            return;
        }
        let found = self.find(&settings);
        settings.tell(&name, &found);
        assert!(found.faults.is_empty(), "{name}, seed {}: {}", settings.seed, found.summary());
        settings.done(&name, &found);
    }

    /// Plays it, and gives the faults.
    pub fn find(&self, settings: &Settings) -> Found {
        let _timed = Timed::begin();
        let disk = Disk::new(self.filesystem);
        let pool = disk.pool();
        (self.prepare)(&pool);
        busy::prepare(&pool);
        disk.record();
        let busy = Busy::begin(&pool, self.busy, &disk.log);
        let notes = Notes::new(&disk.log);
        (self.run)(&pool, &notes);
        let busy = busy.end();
        let mut recording = disk.end();
        let cuts = recording.cuts(settings.seed, settings.prefixes, settings.flushes);
        let mut found = Found { cuts: cuts.len(), second: 0, entries: recording.log.len(), faults: BTreeMap::new() };
        let judge = |cut: Cut| {
            busy::check(&pool, &busy, cut.at)?;
            let check = || (self.check)(&pool, &notes.before(cut));
            catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|panic| Err(said(panic.as_ref())))
        };
        let again = cuts.len().div_ceil(settings.again.max(1)).max(1);
        for (n, cut) in cuts.into_iter().enumerate() {
            let judged = recording.mount(cut).map_err(not_mounted).and_then(|_pool| judge(cut));
            if let Err(why) = judged {
                if found.faults.is_empty() {
                    settings.keep(self.name, &recording.image());
                }
                found.faults.insert((cut, None), why);
            }
            // The power goes a second time, while the agent recovers.
            let Some(recover) = self.recover.filter(|_| settings.again > 0 && n % again == again / 2) else { continue };
            let mut second = match recording.record(cut, recover) {
                Ok(second) => second,
                Err(why) => {
                    found.faults.insert((cut, None), why);
                    continue;
                }
            };
            for inner in second.cuts(settings.seed, 4, 8) {
                found.second += 1;
                if let Err(why) = second.mount(inner).map_err(not_mounted).and_then(|_pool| judge(cut)) {
                    found.faults.insert((cut, Some(inner)), why);
                }
            }
        }
        found
    }
}

fn not_mounted(error: String) -> String {
    format!("it does not mount: {error}")
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panic: {}", text.unwrap_or("without words"))
}

/// What a campaign found.
pub struct Found {
    pub entries: usize,
    pub cuts: usize,
    /// Cuts of the recovery from a cut.
    pub second: usize,
    /// By the cut, and by the cut of the recovery from it.
    pub faults: BTreeMap<(Cut, Option<Cut>), String>,
}

impl Found {
    pub fn summary(&self) -> String {
        let (cuts, entries) = (self.cuts, self.entries);
        let faults: Vec<String> = self.faults.iter().take(5).map(|(cut, why)| format!("{cut:?}: {why}")).collect();
        format!("{} faults at {cuts} cuts of {entries} entries\n{}", self.faults.len(), faults.join("\n"))
    }
}

/// A copy of what a cut left, for a person to look at.
pub fn copy_image(image: &Path, to: &Path) {
    let _ = std::process::Command::new("cp").arg("--sparse=always").args([image, to]).status();
}
