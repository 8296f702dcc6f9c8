//! Images from one Docker to another, through this machine: works before any registry runs.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bollard::{Docker, query_parameters::ImportImageOptions};
use futures_util::{StreamExt, TryStreamExt};
use lap_base::{
    error::{Error, Kind, Result},
    words::bytes,
};

use super::run::node_failed;
use crate::report::LineSink;

/// Copies them, with all they stand on; layers of several are sent once. `line` is told how much was sent. Gives the number of bytes.
///
/// # Errors
/// One is not there, or what came is refused. Those that were through by then stay.
pub async fn copy(here: &Docker, there: &Docker, images: &[&str], line: &LineSink<'_>) -> Result<u64> {
    let what = match images {
        [one] => format!("cannot copy `{one}`"),
        _ => "cannot copy the images".to_owned(),
    };
    // bollard wants a stream of its own: what was sent so far comes back through these.
    let sent = Arc::new(AtomicU64::new(0));
    let (more, mut progress) = tokio::sync::mpsc::unbounded_channel::<()>();
    let counter = sent.clone();
    let chunks = here.export_images(images).map(move |chunk| {
        counter.fetch_add(chunk.as_ref().map_or(0, |bytes| bytes.len() as u64), Ordering::Relaxed);
        let _ = more.send(());
        chunk.map_err(std::io::Error::other)
    });
    let mut load = there.import_image(ImportImageOptions::default(), bollard::body_try_stream(chunks), None);
    loop {
        tokio::select! {
            Some(()) = progress.recv() => line(&bytes(sent.load(Ordering::Relaxed))),
            said = load.try_next() => match said.map_err(|error| node_failed(&what, &error))? {
                None => return Ok(sent.load(Ordering::Relaxed)),
                Some(info) => {
                    if let Some(error) = info.error_detail.and_then(|error| error.message) {
                        return Err(Error::new(Kind::Node, format!("{what}: {error}")));
                    }
                }
            },
        }
    }
}
