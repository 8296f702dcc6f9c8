//! The node's journal: what was begun, which step it is in, how it ended. Lines of JSON in `state`, which no restore
//! takes back, each on disk before the step it announces.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::protocol::{Holder, Note, Unfinished};
use crate::error::{Kind, OrError, Result};

/// Above this the journal is rewritten with its last operations only.
const MAX_BYTES: u64 = 1 << 20;
/// How many lines a rewrite keeps.
const KEPT_LINES: usize = 500;

/// One line. `op` is the fencing number of the lock it happened under.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    op: u64,
    /// Unix seconds.
    at: i64,
    what: What,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    Begin(Holder),
    Note(Note),
    /// The holder went away, or the node died, in the middle.
    Lost,
}

/// The journal of one node.
pub struct Journal {
    path: PathBuf,
    file: File,
    last: Option<Unfinished>,
    open: Option<u64>,
}

impl Journal {
    /// Opens the journal in `state`; a half-written last line (a power cut) is cut off, an operation that was in the
    /// middle is marked lost.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(state: &Path, now: i64) -> Result<Self> {
        let path = state.join("journal.jsonl");
        let text = fs::read(&path).unwrap_or_default();
        let whole = text.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
        let mut lines: Vec<Line> =
            text[..whole].split(|&b| b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let broken = whole < text.len() || text.len() as u64 > MAX_BYTES;
        if broken {
            let from = lines.len().saturating_sub(KEPT_LINES);
            lines.drain(..from);
            let mut kept = Vec::new();
            for line in &lines {
                serde_json::to_writer(&mut kept, line).or_error(Kind::Other, || "cannot write the journal".into())?;
                kept.push(b'\n');
            }
            super::install::write_file(&path, &kept, 0o600)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .or_error(Kind::Node, || format!("cannot open `{}`", path.display()))?;
        let mut journal = Self { path, file, last: None, open: None };
        for line in lines {
            journal.follow(&line);
        }
        if let Some(op) = journal.open {
            journal.append(Line { op, at: now, what: What::Lost })?;
        }
        Ok(journal)
    }

    /// An operation begins.
    ///
    /// # Errors
    /// It cannot be written: then it must not begin.
    pub fn begin(&mut self, op: u64, holder: Holder, now: i64) -> Result<()> {
        self.append(Line { op, at: now, what: What::Begin(holder) })
    }

    /// The holder says what it does.
    ///
    /// # Errors
    /// It cannot be written: then the step must not begin.
    pub fn note(&mut self, op: u64, note: Note, now: i64) -> Result<()> {
        self.append(Line { op, at: now, what: What::Note(note) })
    }

    /// The holder went away. Nothing happens if the operation has ended.
    ///
    /// # Errors
    /// It cannot be written; it is found at the next start all the same.
    pub fn lost(&mut self, op: u64, now: i64) -> Result<()> {
        if self.open == Some(op) { self.append(Line { op, at: now, what: What::Lost }) } else { Ok(()) }
    }

    /// The last operation, if it failed or was lost.
    pub fn unfinished(&self) -> Option<&Unfinished> {
        self.last.as_ref().filter(|_| self.open.is_none())
    }

    fn append(&mut self, line: Line) -> Result<()> {
        let mut text = serde_json::to_vec(&line).or_error(Kind::Other, || "cannot write the journal".into())?;
        text.push(b'\n');
        self.file
            .write_all(&text)
            .and_then(|()| self.file.sync_data())
            .or_error(Kind::Node, || format!("cannot write `{}`", self.path.display()))?;
        self.follow(&line);
        Ok(())
    }

    fn follow(&mut self, line: &Line) {
        match &line.what {
            What::Begin(holder) => {
                self.open = Some(line.op);
                self.last = Some(Unfinished { holder: holder.clone(), since: line.at, step: None, error: None });
            }
            What::Note(Note::Step(step)) => {
                if let Some(last) = &mut self.last {
                    last.step = Some(step.clone());
                }
            }
            What::Note(Note::Did(_)) => {}
            What::Note(Note::End(Ok(()))) => (self.open, self.last) = (None, None),
            What::Note(Note::End(Err(error))) => {
                self.open = None;
                if let Some(last) = &mut self.last {
                    last.error = Some(error.clone());
                }
            }
            What::Lost => self.open = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder() -> Holder {
        Holder { who: "anna@notebook".into(), verb: "up".into(), pid: 7 }
    }

    #[test]
    fn an_operation_that_ends_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), 1).unwrap();
        journal.begin(1, holder(), 10).unwrap();
        journal.note(1, Note::Step("run git".into()), 11).unwrap();
        assert_eq!(journal.unfinished(), None, "still open, so not unfinished");
        journal.note(1, Note::End(Ok(())), 12).unwrap();
        journal.lost(1, 13).unwrap();
        assert_eq!(journal.unfinished(), None);
    }

    #[test]
    fn a_holder_that_goes_away_leaves_its_step() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), 1).unwrap();
        journal.begin(1, holder(), 10).unwrap();
        journal.note(1, Note::Step("run git".into()), 11).unwrap();
        journal.lost(1, 12).unwrap();
        let want = Unfinished { holder: holder(), since: 10, step: Some("run git".into()), error: None };
        assert_eq!(journal.unfinished(), Some(&want));
    }

    /// The power goes at every byte of the journal: it opens, and never calls a lost operation a good one.
    #[test]
    fn cut_anywhere_it_opens() {
        let dir = tempfile::tempdir().unwrap();
        {
            let mut journal = Journal::open(dir.path(), 1).unwrap();
            journal.begin(1, holder(), 10).unwrap();
            journal.note(1, Note::Step("run git".into()), 11).unwrap();
            journal.note(1, Note::End(Ok(())), 12).unwrap();
        }
        let path = dir.path().join("journal.jsonl");
        let whole = fs::read(&path).unwrap();
        let begun = whole.iter().position(|&b| b == b'\n').unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let journal = Journal::open(dir.path(), 20).unwrap();
            assert_eq!(journal.unfinished().is_some(), cut > begun, "cut at {cut}");
            let again = Journal::open(dir.path(), 21).unwrap();
            assert_eq!(again.unfinished(), journal.unfinished(), "cut at {cut}, opened twice");
        }
    }
}
