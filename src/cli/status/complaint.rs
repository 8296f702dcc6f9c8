//! Something that is wrong, and what mends it.

use lap_base::error::{Error, Kind};

/// A sentence, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    pub text: String,
    pub hints: Vec<String>,
}

impl Complaint {
    pub fn new(text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { text: text.into(), hints: vec![hint.into()] }
    }
}

/// All of it as an error: the sentences, then each hint once.
pub fn error(complaints: Vec<Complaint>) -> Error {
    let message = complaints.iter().map(|complaint| complaint.text.as_str()).collect::<Vec<_>>().join("; ");
    let mut hints: Vec<String> = Vec::new();
    for hint in complaints.into_iter().flat_map(|complaint| complaint.hints) {
        if !hints.contains(&hint) {
            hints.push(hint);
        }
    }
    Error { kind: Kind::Unhealthy, message, hints }
}
