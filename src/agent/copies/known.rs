//! What is known of copies off the machine: told by whoever copied, verified or drilled, kept in `state/copies.json`. The agent itself
//! has no key of a repository and looks into none.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use lap_base::{
    durable::write_file,
    error::{Kind, OrError, Result},
    state::{self, State},
};
use lap_repositories::policy::{CopyStatus, News};

use crate::wire::{paths, protocol::Response};

/// Two may have news at the same time.
static ONE: Mutex<()> = Mutex::new(());

/// By repository.
pub fn known() -> State<BTreeMap<String, CopyStatus>> {
    state::json(&path())
        .hint("the copies themselves are safe: move the file away on the node; the next copy writes a new one")
}

/// Writes news down.
///
/// # Errors
/// The disk is full, or what was known cannot be read: it is not overwritten.
pub fn hear(repository: String, news: News) -> Result<Response> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all = known().value_or_refuse()?.unwrap_or_default();
    all.entry(repository).or_default().hear(news);
    let text = serde_json::to_vec_pretty(&all).or_error(Kind::Other, || "cannot describe the copies".into())?;
    write_file(&path(), &text, 0o600).map(|()| Response::Done)
}

fn path() -> PathBuf {
    Path::new(paths::STATE).join("copies.json")
}
