//! Lines for whoever asks later who changed what, and who was refused. A flood of them is counted, not written.
//!
//! A thread of their own writes them: who answers questions must not wait for a log that nobody reads any more.

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

/// Lines in a row, and then how many a second.
const BURST: u32 = 200;
const PER_SECOND: u32 = 20;

/// Between two lines about a quota.
const QUOTA_EVERY: Duration = Duration::from_secs(60);

/// Lines that wait to be written; more are lost.
const WAITING: usize = 1024;
/// How long the last lines may take at the end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The log.
#[derive(Debug, Default)]
pub struct Audit {
    room: Mutex<Room>,
    /// When a quota was spoken of last.
    quota: Mutex<Option<Instant>>,
    /// Begins with the first line.
    writer: OnceLock<Writer>,
}

/// The thread that writes; `None` where there could be none: then nothing is said.
#[derive(Debug)]
struct Writer(Option<(SyncSender<String>, JoinHandle<()>)>);

impl Writer {
    fn new() -> Self {
        let (lines, waiting) = sync_channel::<String>(WAITING);
        let write = move || {
            for line in waiting {
                // Not `eprintln!`: a log that is full or gone would end this thread.
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
        let until = Instant::now() + LAST_WORDS;
        while !thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[derive(Debug)]
struct Room {
    left: u32,
    since: Instant,
    unsaid: u64,
}

impl Default for Room {
    fn default() -> Self {
        Self { left: BURST, since: Instant::now(), unsaid: 0 }
    }
}

impl Audit {
    /// One line, whatever else is said.
    pub fn say(&self, line: &str) {
        if cfg!(test) {
            // Tests show only what is printed.
            eprintln!("dns: {line}");
        } else if let Some((lines, _)) = &self.writer.get_or_init(Writer::new).0 {
            let _ = lines.try_send(format!("dns: {line}\n"));
        }
    }

    /// What was refused to whom.
    pub fn refused(&self, client: IpAddr, what: &str) {
        if self.has_room() {
            self.say(&format!("refused to {client}: {what}"));
        }
    }

    /// The same for a quota, once in [`QUOTA_EVERY`]: one that is used up is used up with every packet, and the first line names the client.
    pub fn over_quota(&self, client: IpAddr, what: &str) {
        let Ok(mut said) = self.quota.lock() else { return };
        if said.is_none_or(|said| said.elapsed() >= QUOTA_EVERY) {
            *said = Some(Instant::now());
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
