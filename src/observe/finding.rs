//! What `lap doctor` found.

use serde::Serialize;

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub verdict: Verdict,
    /// What it is; for a bad one also the next step.
    pub text: String,
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Good,
    /// Works, but somebody should know.
    Warn,
    /// `lap up` would fail.
    Bad,
}

impl Verdict {
    /// For the first column.
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Warn => "warn",
            Self::Bad => "BAD",
        }
    }
}
