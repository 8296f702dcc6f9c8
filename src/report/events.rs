//! What happens while a plan is carried out: one enum for the terminal, JSON, and tests.

use serde::Serialize;
use tokio::sync::mpsc;

/// Shows a line that a step printed.
pub type LineSink<'l> = dyn for<'a> Fn(&'a str) + Send + Sync + 'l;

/// Number of a step in its plan.
pub type StepId = usize;

/// Something happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A plan is about to be carried out; `titles` by step number.
    Plan { environment: String, titles: Vec<String> },
    /// A step begins.
    Started { step: StepId, title: String },
    /// The last line a step printed.
    Output { step: StepId, line: String },
    /// A step is done.
    Done { step: StepId, title: String, seconds: f64 },
    /// A step failed.
    Failed { step: StepId, title: String, seconds: f64, message: String },
    /// The plan is through, or was ended early.
    Ended { done: usize, failed: usize, left: usize, seconds: f64 },
    /// Something worth a line.
    Note { text: String },
}

/// Where events go. Cheap to clone.
#[derive(Clone)]
pub struct Events(Option<mpsc::UnboundedSender<Event>>);

impl Events {
    /// A sender, and what [`super::draw`] reads.
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(Some(sender)), receiver)
    }

    /// Nobody listens.
    pub fn nowhere() -> Self {
        Self(None)
    }

    /// Tells. A reporter that is gone is no reason to stop working.
    pub fn tell(&self, event: Event) {
        if let Some(sender) = &self.0 {
            let _ = sender.send(event);
        }
    }

    /// One line for people.
    pub fn note(&self, text: impl Into<String>) {
        self.tell(Event::Note { text: text.into() });
    }

    /// One line that a step printed.
    pub fn output(&self, step: StepId, line: &str) {
        let line = line.trim();
        if !line.is_empty() {
            self.tell(Event::Output { step, line: line.to_owned() });
        }
    }
}
