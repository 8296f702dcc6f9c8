//! Warnings of rustic_core. It logs a warning for a file that it could not read, or an owner that it could not set, and
//! continues. lap treats each of them as an error.

use std::sync::{Mutex, Once, PoisonError};

use lap_base::error::{Error, Kind, Result};
use log::{Level, LevelFilter, Log, Metadata, Record};

/// The maximum number of kept warnings. The first ones explain the problem.
const MAX_WARNINGS: usize = 20;

static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static ONCE: Once = Once::new();

struct WarningLog;

impl Log for WarningLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn && metadata.target().starts_with("rustic_core")
    }

    fn log(&self, record: &Record<'_>) {
        let mut warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
        if self.enabled(record.metadata()) && warnings.len() < MAX_WARNINGS {
            warnings.push(one_line(&record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// Installs the logger, and removes earlier warnings.
pub fn listen() {
    ONCE.call_once(|| {
        super::users::from_files_only();
        if log::set_logger(&WarningLog).is_ok() {
            log::set_max_level(LevelFilter::Warn);
        }
    });
    WARNINGS.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// Checks that there was no warning.
///
/// # Errors
/// The warnings since [`listen`].
pub fn clean() -> Result<()> {
    let warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
    match warnings.split_first() {
        None => Ok(()),
        Some((first, more)) => {
            let error = Error::new(Kind::Node, first.clone());
            Err(if more.is_empty() { error } else { error.hint(format!("and: {}", more.join("; "))) })
        }
    }
}

/// Returns the message on one line, without the frame that rustic_core puts around it.
pub(super) fn one_line(text: &str) -> String {
    // A panic prints an error with `Debug`.
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
