//! Events as JSON lines on stdout.

use super::{events::Event, reporter::Reporter};
use crate::report::print;

pub struct Json;

impl Reporter for Json {
    fn event(&mut self, event: &Event) {
        if let Ok(line) = serde_json::to_string(event) {
            print::json(&line);
        }
    }
}
