//! What the library says beside its results. It calls a file that it could not read, or an owner that it could not set, a
//! warning and goes on; here that is an error.

use std::sync::{Mutex, Once, PoisonError};

use lap_base::error::{Error, Kind, Result};
use log::{Level, LevelFilter, Log, Metadata, Record};

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
            said.push(one_line(&record.args().to_string()));
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

/// Without the library's frame around it.
pub(super) fn one_line(text: &str) -> String {
    // An error in a panic is printed with `Debug`.
    let inner = text.split_once("guidance: \"").and_then(|(_, rest)| rest.split_once("\", ")).map(|(inner, _)| inner);
    let text = inner.unwrap_or(text);
    let text = text.strip_prefix("Error: ").unwrap_or(text);
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match (line.find(" (kind: related to "), line.find("): caused by: ")) {
        (Some(from), Some(to)) if from < to => format!("{}: {}", &line[..from], &line[to + 14..]),
        (Some(from), None) => line[..from].to_owned(),
        _ => line,
    }
}
