//! The switch that is under way, or the last one.

use std::sync::{Arc, Mutex, PoisonError};

use super::watch::Watch;

/// All connections share it.
#[derive(Clone, Default)]
pub struct LastSwitch(Arc<Mutex<Option<Watch>>>);

impl LastSwitch {
    /// Another one begins.
    pub fn set(&self, watch: Watch) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch);
    }

    /// The one that is under way.
    pub fn running(&self) -> Option<Watch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(Watch::is_running)
    }
}
