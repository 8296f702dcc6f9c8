//! What draws events.

use super::events::Event;

pub(super) trait Reporter {
    fn event(&mut self, event: &Event);
    fn end(&mut self) {}
}
