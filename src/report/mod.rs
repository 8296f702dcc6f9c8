//! The only place that prints. Work emits [`events::Event`]s; a reporter draws them.

pub mod events;
mod human;
mod json;
mod plain;
pub mod print;
mod reporter;
pub mod table;

pub use events::{Event, Events, LineSink, StepId};

use self::reporter::Reporter;
use tokio::sync::mpsc;

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressStyle {
    /// Bars, on a terminal.
    Bars,
    /// A line a step.
    Plain,
    /// JSON lines.
    Json,
}

/// Draws events until every [`Events`] is gone. Talk goes to stderr, JSON lines to stdout.
pub async fn draw(style: ProgressStyle, mut events: mpsc::UnboundedReceiver<Event>) {
    let mut reporter: Box<dyn Reporter + Send> = match style {
        ProgressStyle::Bars => Box::new(human::Bars::default()),
        ProgressStyle::Plain => Box::new(plain::Plain),
        ProgressStyle::Json => Box::new(json::Json),
    };
    while let Some(event) = events.recv().await {
        reporter.event(&event);
    }
    reporter.end();
}
