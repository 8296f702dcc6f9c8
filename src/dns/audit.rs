//! Lines for whoever asks later who changed what, and who was refused. A flood of them is counted, not written.

#![cfg_attr(test, expect(clippy::print_stderr, reason = "a daemon's log is its stderr"))]

use std::{
    net::IpAddr,
    sync::Mutex,
    time::{Duration, Instant},
};

use super::{
    wire,
    zones::{Diff, whole_records},
};

/// Lines in a row, and then how many a second.
const BURST: u32 = 200;
const PER_SECOND: u32 = 20;

/// The log.
#[derive(Debug)]
pub struct Audit {
    room: Mutex<Room>,
}

#[derive(Debug)]
struct Room {
    left: u32,
    since: Instant,
    unsaid: u64,
}

impl Default for Audit {
    fn default() -> Self {
        Self { room: Mutex::new(Room { left: BURST, since: Instant::now(), unsaid: 0 }) }
    }
}

impl Audit {
    /// One line, whatever else is said.
    pub fn say(&self, line: &str) {
        // Not `eprintln!`: a log that is full or gone would end the thread that had something to say. Tests show only that.
        #[cfg(test)]
        eprintln!("dns: {line}");
        #[cfg(not(test))]
        let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("dns: {line}\n").as_bytes());
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
