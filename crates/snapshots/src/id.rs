//! The id of a snapshot: the time at which it was taken (UTC). The text order is the order in time.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::FormatItem, macros::format_description};

const FORMAT: &[FormatItem<'_>] = format_description!("[year][month][day]-[hour][minute][second]");

/// `20261121-094512`, or `20261121-094512-2` for the second snapshot of the same second.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

impl Id {
    /// Returns the id of the `nth` snapshot (from 1) at the time `at` (Unix seconds).
    pub fn new(at: i64, nth: u32) -> Self {
        let time = OffsetDateTime::from_unix_timestamp(at).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let text = time.format(FORMAT).unwrap_or_else(|_| at.to_string());
        Self(if nth > 1 { format!("{text}-{nth}") } else { text })
    }
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a snapshot's name: `lap snapshot list` shows them");
        let (time, nth) = match text.match_indices('-').nth(1) {
            Some((at, _)) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        let nth_is_fine =
            nth.is_none_or(|n| n.parse::<u32>().is_ok_and(|number| number > 1 && number.to_string() == n));
        let time_is_fine = time::PrimitiveDateTime::parse(time, FORMAT).is_ok();
        if nth_is_fine && time_is_fine { Ok(Self(text.to_owned())) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for Id {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_are_ids_of_snapshots() {
        assert_eq!(Id::new(1_795_254_312, 1).to_string(), "20261121-094512");
        assert_eq!(Id::new(1_795_254_312, 2).to_string(), "20261121-094512-2");
        assert!("20261121-094512-2".parse::<Id>().is_ok());
        for wrong in [
            "",
            "x",
            "20261121",
            "20261121-094512-1",
            "20261121-094512-02",
            "20261121-250000",
            "../data",
            "20261121-094512/..",
        ] {
            assert!(wrong.parse::<Id>().unwrap_err().contains("is not a snapshot's name"), "{wrong}");
        }
    }
}
