//! The plain files of the state: the journal, the ledger and the lock's numbers.

use std::path::Path;

use lap::{
    agent::{journal::Journal, lock::NodeLock},
    release::{self, LedgerEntry},
    wire::protocol::{Holder, Note},
};
use lap_snapshots::Filesystem;

use super::campaign::Campaign;

fn holder() -> Holder {
    Holder { who: "anna@notebook".into(), verb: "up".into(), pid: 7 }
}

#[derive(Clone, Debug, PartialEq)]
enum Journaled {
    /// It may have begun.
    Begins(u64),
    Began(u64),
    Step(u64, String),
    Ends(u64),
    Ended(u64),
}

/// A step as long as those that fill a journal until it is rewritten.
fn step(op: u64, n: u64) -> String {
    format!("step {n} of {op} {}", "x".repeat(7000))
}

#[test]
fn the_journal_knows_every_operation_that_began() {
    for filesystem in Filesystem::ALL {
        let run = |pool: &Path, notes: &super::Notes<Journaled>| {
            let mut journal = Journal::open(&pool.join("state"), 1).unwrap();
            // Long enough that it is rewritten on the way.
            for op in 1..=20 {
                notes.note(Journaled::Begins(op));
                journal.begin(op, holder(), 10).unwrap();
                notes.note(Journaled::Began(op));
                for n in 0..10 {
                    journal.note(op, Note::Step(step(op, n)), 11).unwrap();
                    notes.note(Journaled::Step(op, step(op, n)));
                }
                if op % 3 != 0 {
                    notes.note(Journaled::Ends(op));
                    journal.note(op, Note::End(Ok(())), 12).unwrap();
                    notes.note(Journaled::Ended(op));
                } else {
                    journal.lost(op, 13).unwrap();
                }
            }
        };
        let check = |pool: &Path, notes: &[Journaled]| {
            let open = || Journal::open(&pool.join("state"), 20).map_err(|error| error.to_string());
            let unfinished = open()?.unfinished().cloned();
            if open()?.unfinished() != unfinished.as_ref() {
                return Err("a second start says something else".into());
            }
            match notes.last() {
                Some(Journaled::Began(_)) if unfinished.is_none() => Err("an operation that began is not known".into()),
                Some(Journaled::Step(op, text)) => {
                    let said = unfinished.and_then(|it| it.step).unwrap_or_default();
                    // The next step, or the operation's end, may be there too.
                    let prefix = format!("of {op} ");
                    match said.contains(&prefix) && said.as_str() >= text.as_str() {
                        true => Ok(()),
                        false => Err(format!("the step is `{said:.20}`, and `{text:.20}` was on the disk")),
                    }
                }
                Some(Journaled::Ended(op)) if unfinished.is_some() => Err(format!("{op} ended, and is unfinished")),
                _ => Ok(()),
            }
        };
        Campaign {
            name: "journal",
            filesystem,
            busy: &["state"],
            prepare: &|_| {},
            run: &run,
            recover: None,
            check: &check,
        }
        .play();
    }
}

fn entry(fence: u64) -> LedgerEntry {
    serde_json::from_value(serde_json::json!({
        "number": 0, "fence": fence, "began": 1, "ended": 2, "by": "anna@notebook", "verb": "promote", "from": "test",
        "release": fence, "commit": "abc", "images": {}, "before": null, "checks": 3, "away": 5, "outage": [],
        "result": "done", "previous": "",
    }))
    .unwrap()
}

#[test]
fn the_ledger_has_every_entry_that_was_acknowledged() {
    for filesystem in Filesystem::ALL {
        let run = |pool: &Path, notes: &super::Notes<(u64, String)>| {
            for fence in 1..=40 {
                let hash = release::append(&pool.join("state/ledger.jsonl"), entry(fence)).unwrap();
                notes.note((fence, hash));
            }
        };
        let check = |pool: &Path, notes: &[(u64, String)]| {
            let path = pool.join("state/ledger.jsonl");
            let entries = release::read(&path).map_err(|error| error.to_string())?;
            let (acknowledged, hash) = notes.last().cloned().unwrap_or_default();
            if (entries.len() as u64) < acknowledged {
                return Err(format!("{} entries, and {acknowledged} were acknowledged", entries.len()));
            }
            if entries.len() as u64 == acknowledged && release::verify(&path).map_err(|e| e.to_string())?.1 != hash {
                return Err("the newest entry is another one".into());
            }
            // The next one follows, whatever the cut left behind the last whole line.
            release::append(&path, entry(1000)).map_err(|error| error.to_string())?;
            let next = release::verify(&path).map_err(|error| error.to_string())?.0;
            if next == entries.len() + 1 { Ok(()) } else { Err(format!("{next} entries after one more")) }
        };
        Campaign {
            name: "ledger",
            filesystem,
            busy: &["state"],
            prepare: &|_| {},
            run: &run,
            recover: None,
            check: &check,
        }
        .play();
    }
}

#[test]
fn no_lock_number_is_given_twice() {
    for filesystem in Filesystem::ALL {
        let run = |pool: &Path, notes: &super::Notes<u64>| {
            let lock = NodeLock::open(&pool.join("state"));
            for _ in 0..3000 {
                let grant = lock.take(&holder(), 1).unwrap().ok().unwrap();
                notes.note(grant.fence);
            }
        };
        let check = |pool: &Path, notes: &[u64]| {
            let lock = NodeLock::open(&pool.join("state"));
            let next = lock.take(&holder(), 1).map_err(|error| error.to_string())?;
            let next = next.map_err(|_| "the lock is held".to_owned())?.fence;
            let last = notes.iter().max().copied().unwrap_or(0);
            if next > last { Ok(()) } else { Err(format!("{next} after {last}")) }
        };
        Campaign {
            name: "lock",
            filesystem,
            busy: &["state"],
            prepare: &|_| {},
            run: &run,
            recover: None,
            check: &check,
        }
        .play();
    }
}
