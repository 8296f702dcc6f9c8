//! What is known of copies off the machine: told by whoever copied, verified or drilled, kept in `state/copies.json`. The agent itself
//! has no key of a repository and looks into none.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::{install::write_file, paths, protocol::Answer};
use crate::{
    error::{Kind, OrError, Result},
    repository::policy::{Known, News},
};

/// Two may have news at the same time.
static ONE: Mutex<()> = Mutex::new(());

/// By repository. What cannot be read is not known.
pub fn known() -> BTreeMap<String, Known> {
    fs::read(path()).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Writes news down.
///
/// # Errors
/// The disk is full.
pub fn hear(repository: String, news: News) -> Result<Answer> {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all = known();
    all.entry(repository).or_default().hear(news);
    let text = serde_json::to_vec_pretty(&all).or_error(Kind::Other, || "cannot describe the copies".into())?;
    write_file(&path(), &text, 0o600).map(|()| Answer::Done)
}

fn path() -> PathBuf {
    Path::new(paths::STATE).join("copies.json")
}
