//! The time of day as lap records it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the current time in seconds since 1970-01-01 UTC, and 0 if the clock is set to an earlier time.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs().cast_signed())
}
