//! The audit log: it records each change of a zone and each refused request. It counts lines above its rate, and does
//! not write them.
//!
//! A thread of its own writes the lines, so that an answer never waits for a log that is not read.

#![expect(clippy::print_stderr, reason = "a daemon's log is its stderr")]

use std::{
    io::Write,
    net::IpAddr,
    sync::{
        Mutex, OnceLock,
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    wire,
    zones::{Diff, whole_records},
};

/// The number of lines in a burst, and then the rate per second.
const BURST: u32 = 200;
const PER_SECOND: u32 = 20;

/// The minimum time between two lines about a quota.
const QUOTA_EVERY: Duration = Duration::from_secs(60);

/// The maximum number of lines that wait for the thread. More lines are lost.
const MAX_WAITING: usize = 1024;
/// The time for the last lines when the server ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The log.
#[derive(Debug, Default)]
pub struct Audit {
    budget: Mutex<LineBudget>,
    /// The time of the last line about a quota.
    quota: Mutex<Option<Instant>>,
    /// The first line starts the thread.
    writer: OnceLock<Writer>,
}

/// The thread that writes the lines. `None` means that it could not be started. Then the server writes no log.
#[derive(Debug)]
struct Writer(Option<(SyncSender<String>, JoinHandle<()>)>);

impl Writer {
    fn new() -> Self {
        let (lines, waiting) = sync_channel::<String>(MAX_WAITING);
        let write = move || {
            for line in waiting {
                // `eprintln!` panics if the log is full or closed, and would end this thread.
                let _ = std::io::stderr().write_all(line.as_bytes());
            }
        };
        let thread = std::thread::Builder::new().name("dns-log".into()).spawn(write);
        Self(thread.ok().map(|thread| (lines, thread)))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let Some((lines, thread)) = self.0.take() else { return };
        drop(lines);
        let until = Instant::now() + FLUSH_TIMEOUT;
        while !thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[derive(Debug)]
struct LineBudget {
    left: u32,
    since: Instant,
    suppressed: u64,
}

impl Default for LineBudget {
    fn default() -> Self {
        Self { left: BURST, since: Instant::now(), suppressed: 0 }
    }
}

impl Audit {
    /// Writes a line, whatever the rate is.
    pub fn say(&self, line: &str) {
        if cfg!(test) {
            // The test harness captures only `eprintln!`.
            eprintln!("dns: {line}");
        } else if let Some((lines, _)) = &self.writer.get_or_init(Writer::new).0 {
            let _ = lines.try_send(format!("dns: {line}\n"));
        }
    }

    /// Writes that a request of `client` was refused. `what` names the request and the reason.
    pub fn refused(&self, client: IpAddr, what: &str) {
        if self.may_write() {
            self.say(&format!("refused to {client}: {what}"));
        }
    }

    /// Writes that a quota refused a request of `client`, at most once in [`QUOTA_EVERY`]: a client at its quota is
    /// refused with each packet, and the first line names it.
    pub fn over_quota(&self, client: IpAddr, what: &str) {
        let Ok(mut last) = self.quota.lock() else { return };
        if last.is_none_or(|last| last.elapsed() >= QUOTA_EVERY) {
            *last = Some(Instant::now());
            self.say(&format!("refused to {client}: {what}"));
        }
    }

    /// Writes which records of a zone `client` changed with `key`.
    pub fn changed(&self, client: IpAddr, key: &str, diff: &Diff) {
        if !self.may_write() {
            return;
        }
        let list = |sign: char, records: &[u8]| -> Vec<String> {
            whole_records(records)
                .map(|(name, r)| format!("{sign}{} {}", wire::text(name), wire::type_text(r.rtype())))
                .collect()
        };
        let mut all = list('-', &diff.gone);
        all.extend(list('+', &diff.new));
        let more = all.len().saturating_sub(4);
        all.truncate(4);
        if more > 0 {
            all.push(format!("and {more} more"));
        }
        self.say(&format!("key `{key}` from {client}, serial {}: {}", diff.to, all.join(", ")));
    }

    fn may_write(&self) -> bool {
        let Ok(mut budget) = self.budget.lock() else { return false };
        let passed = budget.since.elapsed();
        if passed >= Duration::from_secs(1) {
            let earned = (passed.as_secs() as u32).saturating_mul(PER_SECOND);
            budget.left = budget.left.saturating_add(earned).min(BURST);
            budget.since = Instant::now();
            if budget.suppressed > 0 && budget.left > 0 {
                self.say(&format!("{} more lines like these were not written", std::mem::take(&mut budget.suppressed)));
            }
        }
        match budget.left.checked_sub(1) {
            Some(left) => budget.left = left,
            None => budget.suppressed += 1,
        }
        budget.suppressed == 0
    }
}
