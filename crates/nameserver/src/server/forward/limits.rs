//! Limits of a question that is forwarded.

use std::time::Duration;

/// All tries together; a client's resolver waits 5 s, and must hear SERVFAIL before it gives up.
pub(super) const BUDGET: Duration = Duration::from_secs(4);

/// One try, where there is another upstream to go to.
pub(super) const TRY: Duration = Duration::from_millis(1500);

/// Questions under way at a time; more are answered SERVFAIL at once rather than queued.
pub(super) const MAX_UNDER_WAY: usize = 2048;
