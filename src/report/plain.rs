//! A line a step on stderr: for logs and pipes.

use super::{Event, Reporter};
use crate::report::print::errln;
use crate::words;

#[derive(Default)]
pub struct Plain;

impl Reporter for Plain {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Started { title, .. } => errln!("  ...  {title}"),
            Event::Done { title, seconds, .. } => errln!("  done {title} ({})", words::duration(*seconds)),
            Event::Failed { title, seconds, .. } => errln!("  FAIL {title} ({})", words::duration(*seconds)),
            Event::Note { text } => errln!("{text}"),
            Event::Plan { .. } | Event::Output { .. } | Event::Ended { .. } => {}
        }
    }
}
