//! What the library says beside its results. It calls a file that it could not read, or an owner that it could not set, a
//! warning and goes on; here that is an error.

use std::sync::{Mutex, Once, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::error::{Error, Kind, Result};

/// More are not kept: the first ones say what it is about.
const MOST: usize = 20;

static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());
static ONCE: Once = Once::new();

struct Listener;

impl Log for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn && metadata.target().starts_with("rustic_core")
    }

    fn log(&self, record: &Record<'_>) {
        let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
        if self.enabled(record.metadata()) && said.len() < MOST {
            said.push(super::open::one_line(&record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// Begins to listen; what was said before is forgotten.
pub fn listen() {
    ONCE.call_once(|| {
        super::users::from_files_only();
        if log::set_logger(&Listener).is_ok() {
            log::set_max_level(LevelFilter::Warn);
        }
    });
    SAID.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// Whether all went well.
///
/// # Errors
/// What was said since [`listen`].
pub fn clean() -> Result<()> {
    let said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    match said.split_first() {
        None => Ok(()),
        Some((first, more)) => {
            let error = Error::new(Kind::Node, first.clone());
            Err(if more.is_empty() { error } else { error.hint(format!("and: {}", more.join("; "))) })
        }
    }
}
