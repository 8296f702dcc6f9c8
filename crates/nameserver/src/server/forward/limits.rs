//! Limits for a forwarded question.

use std::time::Duration;

/// The time for all tries together. A client's resolver waits 5 s, and must receive SERVFAIL before that.
pub(super) const BUDGET: Duration = Duration::from_secs(4);

/// The time for one try if there is another upstream.
pub(super) const TRY: Duration = Duration::from_millis(1500);

/// The maximum number of forwarded questions in progress. More questions get SERVFAIL at once and do not wait.
pub(super) const MAX_UNDER_WAY: usize = 2048;
