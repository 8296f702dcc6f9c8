//! Lines for whoever asks later who changed what, and who was refused. A flood of them is counted, not written.
//!
//! A thread of their own writes them: who answers questions must not wait for a log that nobody reads any more.

#![cfg_attr(test, expect(clippy::print_stderr, reason = "a daemon's log is its stderr"))]

use std::{
    io::Write,
    net::IpAddr,
    sync::{
        Mutex,
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    wire,
    zones::{Diff, whole_records},
};

/// Lines in a row, and then how many a second.
const BURST: u32 = 200;
const PER_SECOND: u32 = 20;

/// Lines that wait to be written; more are lost.
const WAITING: usize = 1024;
/// How long the last lines may take at the end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The log.
#[derive(Debug)]
pub struct Audit {
    room: Mutex<Room>,
    /// `None` while it ends, or where there can be no thread: then nothing is said.
    lines: Option<SyncSender<String>>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Room {
    left: u32,
    since: Instant,
    unsaid: u64,
}

impl Default for Audit {
    fn default() -> Self {
        let (lines, waiting) = sync_channel::<String>(WAITING);
        let write = move || {
            for line in waiting {
                // Not `eprintln!`: a log that is full or gone would end this thread.
                let _ = std::io::stderr().write_all(line.as_bytes());
            }
        };
        let writer = std::thread::Builder::new().name("dns-log".into()).spawn(write).ok();
        let room = Mutex::new(Room { left: BURST, since: Instant::now(), unsaid: 0 });
        Self { room, lines: Some(lines), writer }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.lines = None;
        let until = Instant::now() + LAST_WORDS;
        while self.writer.as_ref().is_some_and(|writer| !writer.is_finished()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Audit {
    /// One line, whatever else is said.
    pub fn say(&self, line: &str) {
        // Tests show only what is printed.
        #[cfg(test)]
        eprintln!("dns: {line}");
        #[cfg(not(test))]
        if let Some(lines) = &self.lines {
            let _ = lines.try_send(format!("dns: {line}\n"));
        }
    }

    /// What was refused to whom.
    pub fn refused(&self, client: IpAddr, what: &str) {
        if self.has_room() {
            self.say(&format!("refused to {client}: {what}"));
        }
    }

    /// What was changed by whom.
    pub fn changed(&self, client: IpAddr, key: &str, diff: &Diff) {
        if !self.has_room() {
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

    fn has_room(&self) -> bool {
        let Ok(mut room) = self.room.lock() else { return false };
        let passed = room.since.elapsed();
        if passed >= Duration::from_secs(1) {
            let earned = (passed.as_secs() as u32).saturating_mul(PER_SECOND);
            room.left = room.left.saturating_add(earned).min(BURST);
            room.since = Instant::now();
            if room.unsaid > 0 && room.left > 0 {
                self.say(&format!("{} more lines like these were not written", std::mem::take(&mut room.unsaid)));
            }
        }
        match room.left.checked_sub(1) {
            Some(left) => room.left = left,
            None => room.unsaid += 1,
        }
        room.unsaid == 0
    }
}
