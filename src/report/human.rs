//! Bars on a terminal: one line for each step that runs, with elapsed time and what it printed last; a calm line for
//! each that is done.

use crate::report::print::{errln, visible};
use std::{collections::BTreeMap, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use lap_base::words::{self, plain};

use super::{
    events::{Event, StepId},
    reporter::Reporter,
};

#[derive(Default)]
pub struct Bars {
    all: MultiProgress,
    running: BTreeMap<StepId, ProgressBar>,
    overall: Option<ProgressBar>,
}

impl Bars {
    fn line(&self, text: &str) {
        // Without a terminal after all: then there is nothing to draw around.
        if self.all.println(visible(text)).is_err() {
            errln!("{text}");
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Reporter for Bars {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Plan { titles, .. } => {
                let bar = self.all.add(ProgressBar::new(titles.len() as u64));
                bar.set_style(style("  [{bar:24}] {pos}/{len} {elapsed}").progress_chars("=> "));
                bar.enable_steady_tick(Duration::from_millis(200));
                self.overall = Some(bar);
            }
            Event::Started { step, title } => {
                let bar = self.all.insert(self.running.len(), ProgressBar::new_spinner());
                bar.set_style(style("  {spinner} {prefix} {elapsed:.dim} {wide_msg:.dim}"));
                bar.set_prefix(plain(title));
                bar.enable_steady_tick(Duration::from_millis(120));
                self.running.insert(*step, bar);
            }
            Event::Output { step, line } => {
                if let Some(bar) = self.running.get(step) {
                    bar.set_message(plain(line));
                }
            }
            Event::Done { step, title, seconds } | Event::Failed { step, title, seconds, .. } => {
                if let Some(bar) = self.running.remove(step) {
                    bar.finish_and_clear();
                    self.all.remove(&bar);
                }
                let word = if matches!(event, Event::Done { .. }) { "done" } else { "FAIL" };
                self.line(&format!("  {word} {title} ({})", words::duration(*seconds)));
                if let Some(bar) = &self.overall {
                    bar.inc(1);
                }
            }
            Event::Ended { .. } => self.end(),
            Event::Note { text } => self.line(text),
        }
    }

    fn end(&mut self) {
        for (_, bar) in std::mem::take(&mut self.running) {
            bar.finish_and_clear();
        }
        if let Some(bar) = self.overall.take() {
            bar.finish_and_clear();
        }
    }
}
