//! Which containers are frozen because of their size, for `lap status` and for an agent that is started again.
//!
//! The list is in `/run`: it can be written when the pool is full, and a boot, after which nothing is frozen, need not keep it. Whether a
//! container is frozen is never taken from here alone (`held`).

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use lap_base::{
    durable::write_file,
    error::{Kind, OrError, Result},
    state::{self, State},
};

use crate::wire::protocol::{OverFact, QuotaFacts};

const RECORD: &str = "/run/lap/frozen.json";

static KNOWN: Mutex<QuotaFacts> = Mutex::new(QuotaFacts { over: BTreeMap::new(), largest: None });

fn known() -> MutexGuard<'static, QuotaFacts> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the last look found.
pub fn facts() -> QuotaFacts {
    known().clone()
}

/// The containers that are frozen.
pub fn frozen() -> BTreeSet<String> {
    known().over.iter().filter(|(_, fact)| fact.frozen).map(|(container, _)| container.clone()).collect()
}

/// Makes this known, and writes it down if it is news.
///
/// # Errors
/// It cannot be written.
pub fn set(facts: QuotaFacts) -> Result<()> {
    let mut known = known();
    let is_news = known.over != facts.over;
    *known = facts;
    if !is_news {
        return Ok(());
    }
    let text = serde_json::to_vec(&known.over).or_error(Kind::Other, || "frozen containers".into())?;
    write_file(Path::new(RECORD), &text, 0o600)
}

/// What an agent before this one wrote. Without it the control groups still say which containers are frozen.
pub fn read() -> BTreeMap<String, OverFact> {
    match state::json(Path::new(RECORD)) {
        State::Value(over) => over,
        State::Absent => BTreeMap::new(),
        State::Unreadable(why) => {
            eprintln!("agent: {}", why.sentence());
            BTreeMap::new()
        }
    }
}
