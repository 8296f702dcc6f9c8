//! A line a step on stderr: for logs and pipes.

use super::{Event, Reporter, words};

#[derive(Default)]
pub struct Plain;

impl Reporter for Plain {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Started { title, .. } => eprintln!("  ...  {title}"),
            Event::Done { title, seconds, .. } => eprintln!("  done {title} ({})", words::duration(*seconds)),
            Event::Failed { title, seconds, .. } => eprintln!("  FAIL {title} ({})", words::duration(*seconds)),
            Event::Note { text } => eprintln!("{text}"),
            Event::Plan { .. } | Event::Output { .. } | Event::Ended { .. } => {}
        }
    }
}
