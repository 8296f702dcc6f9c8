//! What `lap status` says about the recovery.

use lap_base::clock::now;

use super::{pending::is_pending, progress::RecoveryProgress};
use crate::{agent::lock::NodeLock, wire::protocol::Recovering};

/// The operation that waits for its end, also before the first try: no interruption looks healthy.
pub fn recovering(lock: &NodeLock, progress: &RecoveryProgress) -> Option<Recovering> {
    let waits = || lock.while_free(is_pending).unwrap_or_default();
    progress.current().or_else(|| waits().then(|| Recovering { since: now(), tries: 0, error: None }))
}
