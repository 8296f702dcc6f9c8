//! `state/push.json`: the newest commit that was to be built, and how that ended. So an agent that was killed goes on, and
//! `lap status` can tell.

use std::path::PathBuf;

use lap_base::{
    clock::now,
    durable::write_file,
    error::{Kind, OrError, Result},
    state::{self, State},
};

use super::job::BuildJob;
use crate::wire::{paths, protocol::PushFact};

fn path() -> PathBuf {
    PathBuf::from(paths::STATE).join("push.json")
}

/// Whether what is pushed is built here: whoever has the keys says so.
pub fn is_wanted() -> bool {
    !state::is_absent(&PathBuf::from(paths::POLICY).join("push.json"))
}

/// What is known of the newest one.
pub fn read() -> State<PushFact> {
    state::json(&path()).hint("push again: the next push writes a new file")
}

fn write(fact: &PushFact) -> lap_base::error::Result<()> {
    let text = serde_json::to_vec(fact).or_error(Kind::Other, || "push".into())?;
    write_file(&path(), &text, 0o600)
}

/// It came.
///
/// # Errors
/// The disk is full: then nobody would know of it.
pub fn begin(job: &BuildJob) -> lap_base::error::Result<()> {
    write(&PushFact { commit: job.commit.clone(), by: job.who.clone(), at: now(), result: None })
}

/// It ended.
pub fn end(job: &BuildJob, result: &Result<(), String>) {
    let fact = PushFact { commit: job.commit.clone(), by: job.who.clone(), at: now(), result: Some(result.clone()) };
    if let Err(error) = write(&fact) {
        eprintln!("agent: {error}");
    }
}

/// It cannot be built any more.
pub fn give_up(fact: &PushFact, why: &str) {
    let fact = PushFact { at: now(), result: Some(Err(why.to_owned())), ..fact.clone() };
    if let Err(error) = write(&fact) {
        eprintln!("agent: {error}");
    }
}
