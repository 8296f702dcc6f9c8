//! Whether something was interrupted and has not come to its end.

use crate::agent::{clone_data, daemons::ports, data::hooks, prune, snapshots, switch};

/// Whether [`super::containers::recover_containers`] has something to do.
pub fn needs_containers() -> bool {
    snapshots::is_pending() || clone_data::is_pending() || hooks::is_pending()
}

/// Whether something waits for its end that no running command works on.
pub fn is_pending() -> bool {
    !snapshots::is_under_way()
        && (needs_containers() || switch::is_pending() || prune::is_pending() || ports::are_leaked())
}
