//! A line a step on stderr: for logs and pipes. What a node or a program says cannot move the cursor.

use lap_base::words::{self, plain};

use super::{events::Event, reporter::Reporter};
use crate::report::print::errln;

#[derive(Default)]
pub struct Plain;

impl Reporter for Plain {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Started { title, .. } => errln!("  ...  {}", plain(title)),
            Event::Done { title, seconds, .. } => errln!("  done {} ({})", plain(title), words::duration(*seconds)),
            Event::Failed { title, seconds, .. } => errln!("  FAIL {} ({})", plain(title), words::duration(*seconds)),
            Event::Note { text } => errln!("{text}"),
            Event::Plan { .. } | Event::Output { .. } | Event::Ended { .. } => {}
        }
    }
}
