//! Looks for damage, and names it.

use std::str::FromStr;

use lap_base::error::Result;
use rustic_core::{CheckOptions, ReadSubsetOption};

use super::{
    open::{Repository, guarded},
    warnings::one_line,
};

/// How far the check goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Depth {
    /// What is said about the data: every index, snapshot and directory, and that every pack is there in its size.
    Structure,
    /// And this part of the data itself, picked by chance: percent.
    Data(f64),
}

impl FromStr for Depth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = text.strip_suffix('%').unwrap_or(text).parse::<f64>();
        match percent {
            Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(Self::Data(percent)),
            _ => Err(format!("`{text}` is not a share: write a percentage, e.g. `10%`")),
        }
    }
}

impl Repository {
    /// Everything that is wrong, a sentence each; nothing: nothing is.
    ///
    /// # Errors
    /// So much is wrong that it cannot be looked at.
    pub fn verify(&self, depth: Depth) -> Result<Vec<String>> {
        let mut options = CheckOptions::default();
        if let Depth::Data(percent) = depth {
            options.read_data = true;
            options.read_data_subset =
                if percent < 100.0 { ReadSubsetOption::Percentage(percent) } else { ReadSubsetOption::All };
        }
        // On a busy machine the library's own threads may still hold its index when it wants it for itself, and it panics
        // (rustic_core 0.13, `GlobalIndex::into_index`): nothing is wrong then but the moment.
        let check = || guarded(&self.name, || self.inner.check(options));
        let mut results = check();
        for _ in 0..5 {
            match &results {
                Err(error) if error.message.contains("index still in use") => results = check(),
                _ => break,
            }
        }
        Ok(damage(results?))
    }
}

/// What a check found and a copy needs.
pub(super) fn damage(results: rustic_core::CheckResults) -> Vec<String> {
    let all = results.0.into_iter().filter(|(level, _)| format!("{level:?}") == "Error");
    let mut all: Vec<String> = all.map(|(_, error)| one_line(&error.to_string())).collect();
    all.sort();
    all.dedup();
    all
}
