//! The node's journal: each operation, its present step, and its result. It consists of lines of JSON in `state`, which no
//! restore changes. Each line is on the disk before its step begins.
//!
//! The file stays below `MAX_BYTES` while the agent runs. An incomplete line is removed before the next one is appended, so a
//! full disk costs only that line.

mod lines;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use lap_base::{
    durable,
    error::{Kind, OrError, Result},
};

use crate::wire::protocol::{Holder, Note, Unfinished};
use lines::{JournalEvent, JournalLine};

/// Above this the journal is rewritten with its last operations only.
const MAX_BYTES: u64 = 1 << 20;
/// After a rewrite that failed, the next try comes after so many more bytes.
const RETRY_BYTES: u64 = 64 << 10;

/// The journal of one node.
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Up to here the file holds whole lines.
    length: u64,
    /// A failed write may have left bytes behind `length`.
    torn: bool,
    max_bytes: u64,
    /// The file is rewritten when it is longer: `max_bytes`, or more after a rewrite that failed.
    trim_above: u64,
    last: Option<Unfinished>,
    open: Option<u64>,
}

impl Journal {
    /// Opens the journal in `state`. Damaged lines are skipped and counted in the log; an unfinished last line (a power cut)
    /// is cut off; an operation that was in the middle is marked lost.
    ///
    /// # Errors
    /// The file cannot be read or opened. A missing file is an empty journal.
    pub fn open(state: &Path, now: i64) -> Result<Self> {
        Self::open_with(state, now, MAX_BYTES)
    }

    fn open_with(state: &Path, now: i64, max_bytes: u64) -> Result<Self> {
        let path = state.join("journal.jsonl");
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            text => text.or_error(Kind::Node, || format!("cannot read `{}`", path.display()))?,
        };
        let read = lines::read(&text);
        if read.damaged > 0 {
            eprintln!("agent: `{}`: skipped {}", path.display(), lap_base::words::plural(read.damaged, "damaged line"));
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .or_error(Kind::Node, || format!("cannot open `{}`", path.display()))?;
        // The file may be new. On a full disk the agent starts all the same.
        if let Err(error) = durable::sync_parent(&path) {
            eprintln!("agent: cannot write `{}`: {error}", state.display());
        }
        let torn = read.whole < text.len();
        let (length, last, open) = (read.whole as u64, None, None);
        let mut journal = Self { path, file, length, torn, max_bytes, trim_above: max_bytes, last, open };
        read.lines.iter().for_each(|line| journal.follow(line));
        // Neither step stops the agent: on a full disk it is the agent that makes room.
        if torn && let Err(error) = journal.cut() {
            eprintln!("agent: cannot truncate `{}`: {error}", journal.path.display());
        }
        if let Some(op) = journal.open {
            let line = JournalLine { op, at: now, what: JournalEvent::Lost };
            if let Err(error) = journal.append(line.clone()) {
                eprintln!("agent: {error}");
                journal.follow(&line);
            }
        }
        journal.trim();
        Ok(journal)
    }

    /// An operation begins.
    ///
    /// # Errors
    /// It cannot be written: then it must not begin.
    pub fn begin(&mut self, op: u64, holder: Holder, now: i64) -> Result<()> {
        self.append(JournalLine { op, at: now, what: JournalEvent::Begin(holder) })
    }

    /// The holder says what it does.
    ///
    /// # Errors
    /// It cannot be written: then the step must not begin.
    pub fn note(&mut self, op: u64, note: Note, now: i64) -> Result<()> {
        self.append(JournalLine { op, at: now, what: JournalEvent::Note(lines::bounded(note)) })
    }

    /// The holder went away. Nothing happens if the operation has ended.
    ///
    /// # Errors
    /// It cannot be written; it is found at the next start all the same.
    pub fn lost(&mut self, op: u64, now: i64) -> Result<()> {
        if self.open == Some(op) { self.append(JournalLine { op, at: now, what: JournalEvent::Lost }) } else { Ok(()) }
    }

    /// The last operation, if it failed or was lost.
    pub fn unfinished(&self) -> Option<&Unfinished> {
        self.last.as_ref().filter(|_| self.open.is_none())
    }

    fn append(&mut self, line: JournalLine) -> Result<()> {
        let mut text = Vec::new();
        // Where the rest of a failed write cannot be cut off, a newline closes it: only that one line is lost.
        if self.torn && self.cut().is_err() {
            text.push(b'\n');
        }
        lines::write(&line, &mut text)?;
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            self.torn = true;
            let _ = self.cut();
            return Err(error).or_error(Kind::Node, || format!("cannot write `{}`", self.path.display()));
        }
        self.torn = false;
        self.length = self.file.metadata().map_or(self.length + text.len() as u64, |meta| meta.len());
        self.follow(&line);
        self.trim();
        Ok(())
    }

    /// Cuts off what a failed write left.
    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.torn = false;
        Ok(())
    }

    /// Rewrites a journal that is too long with its last operations. A failure changes nothing: the longer file goes on.
    fn trim(&mut self) {
        if self.length <= self.trim_above {
            return;
        }
        self.trim_above = match self.rewrite() {
            Ok(()) => self.max_bytes,
            Err(error) => {
                eprintln!("agent: cannot compact `{}`: {error}", self.path.display());
                self.length + RETRY_BYTES
            }
        };
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let read = lines::read(&fs::read(&self.path)?);
        let text = lines::kept(&read.lines, self.max_bytes / 2).map_err(io::Error::other)?;
        let new = self.path.with_extension("jsonl.lap-new");
        // A left-over of a killed writer.
        let _ = fs::remove_file(&new);
        // One handle from the first byte on: after the rename nothing is left that could fail between the two files.
        let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&new)?;
        if let Err(error) =
            file.write_all(&text).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&new, &self.path))
        {
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        (self.file, self.length, self.torn) = (file, text.len() as u64, false);
        self.path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    }

    fn follow(&mut self, line: &JournalLine) {
        match &line.what {
            JournalEvent::Begin(holder) => {
                self.open = Some(line.op);
                self.last = Some(Unfinished { holder: holder.clone(), since: line.at, step: None, error: None });
            }
            JournalEvent::Note(Note::Step(step)) => {
                if let Some(last) = &mut self.last {
                    last.step = Some(step.clone());
                }
            }
            JournalEvent::Note(Note::Did(_)) => {}
            JournalEvent::Note(Note::End(Ok(()))) => (self.open, self.last) = (None, None),
            JournalEvent::Note(Note::End(Err(error))) => {
                self.open = None;
                if let Some(last) = &mut self.last {
                    last.error = Some(error.clone());
                }
            }
            JournalEvent::Lost => self.open = None,
        }
    }
}
