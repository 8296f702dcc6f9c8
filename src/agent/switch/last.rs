//! The switch that is under way, or the last one.

use std::sync::{Arc, Mutex, PoisonError};

use super::watch::SwitchWatch;

/// All connections share it.
#[derive(Clone, Default)]
pub struct LastSwitch(Arc<Mutex<Option<SwitchWatch>>>);

impl LastSwitch {
    /// Another one begins.
    pub fn set(&self, watch: SwitchWatch) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch);
    }

    /// The one that is under way.
    pub fn running(&self) -> Option<SwitchWatch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(SwitchWatch::is_running)
    }
}
