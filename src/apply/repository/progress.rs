//! Progress of work on a repository.

use std::{sync::Arc, time::Instant};

use lap_base::error::{Kind, OrError, Result};
use lap_repositories::OnProgress;

use crate::{apply::options::Options, report::Event};

/// A step of its own, with what is told while it runs.
pub(crate) async fn step<T>(options: &Options, title: String, work: impl Future<Output = Result<T>>) -> Result<T> {
    let begun = Instant::now();
    options.events.tell(Event::Started { step: 0, title: title.clone() });
    let result = work.await;
    let seconds = begun.elapsed().as_secs_f64();
    options.events.tell(match &result {
        Ok(_) => Event::Done { step: 0, title, seconds },
        Err(error) => Event::Failed { step: 0, title, seconds, message: error.message.clone() },
    });
    result
}

pub(super) fn tell(options: &Options) -> OnProgress {
    let events = options.events.clone();
    Arc::new(move |text: &str| events.output(0, text))
}

pub(crate) fn silent() -> OnProgress {
    Arc::new(|_: &str| {})
}

/// The library blocks.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.or_error(Kind::Other, || "the repository".into())?
}
