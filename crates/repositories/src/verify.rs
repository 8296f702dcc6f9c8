//! Verification of a repository.

use std::str::FromStr;

use lap_base::error::Result;
use rustic_core::{CheckOptions, ReadSubsetOption};

use super::{
    open::{Repository, guarded},
    warnings::one_line,
};

/// The depth of a verification.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Depth {
    /// The metadata: every index, snapshot and directory, and that every pack exists with the right size.
    Structure,
    /// The metadata, and this percentage of the data, selected at random.
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
    /// Returns all faults, one sentence each. The list is empty if there is none.
    ///
    /// # Errors
    /// The damage is so large that the check cannot run.
    pub fn verify(&self, depth: Depth) -> Result<Vec<String>> {
        let mut options = CheckOptions::default();
        if let Depth::Data(percent) = depth {
            options.read_data = true;
            options.read_data_subset =
                if percent < 100.0 { ReadSubsetOption::Percentage(percent) } else { ReadSubsetOption::All };
        }
        // On a busy machine, rustic_core's threads may still hold the index, and it panics (rustic_core 0.13,
        // `GlobalIndex::into_index`). This is not damage, so the check runs again.
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

/// Returns the errors of a check, without its warnings.
pub(super) fn damage(results: rustic_core::CheckResults) -> Vec<String> {
    let all = results.0.into_iter().filter(|(level, _)| format!("{level:?}") == "Error");
    let mut all: Vec<String> = all.map(|(_, error)| one_line(&error.to_string())).collect();
    all.sort();
    all.dedup();
    all
}
