//! The journal, or why it cannot be read. An agent without a journal serves all that only looks, and refuses what changes the node.

use std::path::{Path, PathBuf};

use lap_base::{
    clock::now,
    error::{Error, Result},
    state::{self, Unreadable},
};

use crate::{
    agent::journal::Journal,
    wire::protocol::{Holder, Note, Unfinished},
};

/// The journal of this agent.
pub struct OpenJournal {
    state: PathBuf,
    journal: Result<Journal, Unreadable>,
}

impl OpenJournal {
    /// Opens the journal in `state`.
    pub fn open(state: &Path) -> Self {
        Self { state: state.to_owned(), journal: read(state) }
    }

    /// An operation begins. A journal that could not be read is tried again.
    ///
    /// # Errors
    /// It cannot be read or written: then the operation must not begin.
    pub fn begin(&mut self, op: u64, holder: Holder, now: i64) -> Result<()> {
        if self.journal.is_err() {
            self.journal = read(&self.state);
        }
        self.get()?.begin(op, holder, now)
    }

    /// The holder says what it does.
    ///
    /// # Errors
    /// It cannot be written: then the step must not begin.
    pub fn note(&mut self, op: u64, note: Note, now: i64) -> Result<()> {
        self.get()?.note(op, note, now)
    }

    /// The holder went away.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn lost(&mut self, op: u64, now: i64) -> Result<()> {
        self.get()?.lost(op, now)
    }

    /// The last operation, if it failed or was lost.
    pub fn unfinished(&self) -> Option<&Unfinished> {
        self.journal.as_ref().ok()?.unfinished()
    }

    /// Why it cannot be read.
    pub fn unreadable(&self) -> Option<&Unreadable> {
        self.journal.as_ref().err()
    }

    fn get(&mut self) -> Result<&mut Journal> {
        self.journal.as_mut().map_err(|why| Error::from(why.clone()))
    }
}

fn read(state: &Path) -> Result<Journal, Unreadable> {
    Journal::open(state, now()).map_err(|error| {
        eprintln!("agent: {error}");
        let path = state.join("journal.jsonl");
        let why = state::bytes(&path).unreadable().cloned();
        why.unwrap_or_else(|| Unreadable::new(path, error.message))
            .hint("move the file away on the node (`lap ssh NODE`): the next command begins a new journal")
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lap_base::error::Kind;

    use super::*;

    fn holder() -> Holder {
        Holder { who: "anna".into(), verb: "up".into(), pid: 1 }
    }

    #[test]
    fn without_a_journal_nothing_begins_until_it_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("journal.jsonl");
        fs::create_dir(&file).unwrap();
        let mut journal = OpenJournal::open(dir.path());
        let why = journal.unreadable().unwrap();
        assert!(why.sentence().starts_with(&format!("cannot read `{}`: ", file.display())), "{}", why.sentence());
        let error = journal.begin(1, holder(), 5).unwrap_err();
        assert_eq!((error.kind, error.hints.len()), (Kind::Refused, 1));
        assert!(journal.note(1, Note::Step("x".into()), 5).is_err() && journal.lost(1, 5).is_err());
        assert!(journal.unfinished().is_none());
        fs::remove_dir(&file).unwrap();
        journal.begin(2, holder(), 6).unwrap();
        assert!(journal.unreadable().is_none() && file.is_file());
    }
}
