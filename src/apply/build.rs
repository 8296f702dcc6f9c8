//! Builds images on a node, and pulls them.

use std::{
    collections::{BTreeMap, HashMap},
    io::Write,
    path::Path,
};

use bollard::{
    Docker,
    models::{BuildInfo, CreateImageInfo},
    query_parameters::{BuildImageOptionsBuilder, CreateImageOptionsBuilder, TagImageOptionsBuilder},
};
use futures_util::StreamExt;
use lap_base::error::{Error, Kind, OrError, Result};

use super::run::node_failed;
use crate::{
    observe::context::Context, release::desired_state::DesiredState, report::LineSink, wire::labels::LABEL_BUILD,
};

/// How many of a failing build's last lines are shown.
const LAST_LINES: usize = 15;
/// What one build needs.
pub struct BuildOrder<'a> {
    pub container: &'a str,
    /// The image's identity, kept as its label.
    pub build: &'a str,
    pub args: HashMap<String, String>,
    pub context: &'a Context,
    /// Files lap adds to the context: (name, mode, path).
    pub more: Vec<(&'static str, u32, &'a Path)>,
}

/// `infra/<name>`: what Dockerfiles call it.
pub fn name(container: &str) -> String {
    format!("infra/{container}")
}

/// Gives the image that is desired its name, which the one that was built last has: after a step back in history, another one.
///
/// # Errors
/// It is not there.
pub async fn name_it(
    docker: &Docker,
    desired: &DesiredState,
    ids: &BTreeMap<String, String>,
    container: &str,
) -> Result<()> {
    let id = id(desired, ids, container)?;
    let options = TagImageOptionsBuilder::new().repo(&name(container)).tag("latest").build();
    let tagged = docker.tag_image(id, Some(options)).await;
    tagged.map_err(|error| node_failed(&format!("cannot name the image of `{container}`"), &error))
}

/// The id of the image that is desired. `ids`: those on the node, by what they were built from.
///
/// # Errors
/// It is not there.
pub fn id<'a>(desired: &DesiredState, ids: &'a BTreeMap<String, String>, container: &str) -> Result<&'a str> {
    let id = desired.images.get(container).and_then(|image| ids.get(&image.build));
    id.map(String::as_str).ok_or_else(|| {
        Error::new(Kind::Node, format!("the image of `{container}` is not on the node"))
            .hint("`lap up` builds or pulls it")
    })
}

/// Builds one image.
///
/// # Errors
/// [`Kind::Build`] with the Dockerfile's step and the last lines it printed.
pub async fn build(docker: &Docker, order: BuildOrder<'_>, line: &LineSink<'_>) -> Result<()> {
    let what = || format!("cannot build `{}`", order.container);
    // A file, because a context may hold a root file system of hundreds of megabytes.
    let mut spool = tempfile::tempfile().or_error(Kind::Host, || "cannot make a temporary file".into())?;
    order.context.write_tar(&mut spool, &order.more)?;
    spool.flush().or_error(Kind::Host, what)?;
    std::io::Seek::rewind(&mut spool).or_error(Kind::Host, what)?;
    let labels = HashMap::from([(LABEL_BUILD.to_owned(), order.build.to_owned())]);
    let mut options = BuildImageOptionsBuilder::new().t(&name(order.container)).rm(true).forcerm(true).labels(&labels);
    options = options.buildargs(&order.args);
    let body = bollard::body_try_stream(chunks(tokio::fs::File::from_std(spool)));
    let mut lines = docker.build_image(options.build(), None, Some(body));
    let mut said = BuildMessage::default();
    while let Some(info) = lines.next().await {
        match info {
            Ok(info) => said.hear(info, line)?,
            Err(error) => return Err(said.failed(order.container, &error.to_string())),
        }
    }
    Ok(())
}

/// What a build printed.
#[derive(Default)]
struct BuildMessage {
    step: String,
    last: Vec<String>,
}

impl BuildMessage {
    fn hear(&mut self, info: BuildInfo, line: &LineSink<'_>) -> Result<()> {
        for text in info.stream.as_deref().unwrap_or_default().lines().map(str::trim_end).filter(|t| !t.is_empty()) {
            line(text);
            if text.starts_with("Step ") {
                self.step = text.to_owned();
                self.last.clear();
            } else {
                self.last.push(text.to_owned());
                let surplus = self.last.len().saturating_sub(LAST_LINES);
                self.last.drain(..surplus);
            }
        }
        match info.error_detail {
            None => Ok(()),
            Some(error) => Err(self.failed("", &error.message.unwrap_or_default())),
        }
    }

    fn failed(&self, container: &str, why: &str) -> Error {
        let mut message =
            if container.is_empty() { why.to_owned() } else { format!("cannot build `{container}`: {why}") };
        for text in std::iter::once(&self.step).chain(&self.last).filter(|text| !text.is_empty()) {
            message.push_str("\n  | ");
            message.push_str(text);
        }
        Error::new(Kind::Build, message)
    }
}

/// Pulls an image by its full reference.
///
/// # Errors
/// It is not there, or the registry does not answer.
pub async fn pull(docker: &Docker, reference: &str, line: &LineSink<'_>) -> Result<()> {
    let options = CreateImageOptionsBuilder::new().from_image(reference).build();
    let mut lines = docker.create_image(Some(options), None, None);
    let what = || format!("cannot pull `{reference}`");
    while let Some(info) = lines.next().await {
        let CreateImageInfo { status, error_detail, .. } = info.map_err(|error| node_failed(&what(), &error))?;
        if let Some(error) = error_detail.and_then(|error| error.message) {
            return Err(Error::new(Kind::Node, format!("{}: {error}", what()))
                .hint("`lap image seed` copies an image from this machine's Docker to the node"));
        }
        line(&status.unwrap_or_default());
    }
    Ok(())
}

fn chunks(file: tokio::fs::File) -> impl futures_util::Stream<Item = std::io::Result<bytes::Bytes>> + Send {
    futures_util::stream::try_unfold(file, |mut file| async move {
        use tokio::io::AsyncReadExt;
        let mut chunk = bytes::BytesMut::with_capacity(256 << 10);
        let got = file.read_buf(&mut chunk).await?;
        Ok((got > 0).then(|| (chunk.freeze(), file)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_build_shows_its_step_and_last_lines() {
        let stream = |text: &str| BuildInfo { stream: Some(text.into()), ..BuildInfo::default() };
        let mut said = BuildMessage::default();
        let heard = std::sync::Mutex::new(Vec::new());
        let line = |text: &str| heard.lock().unwrap().push(text.to_owned());
        said.hear(stream("Step 1/3 : FROM infra/base\n"), &line).unwrap();
        said.hear(stream("old\n"), &line).unwrap();
        said.hear(stream("Step 2/3 : RUN false\n"), &line).unwrap();
        said.hear(stream("oh no\n"), &line).unwrap();
        let error = said.failed("git", "returned a non-zero code: 1");
        assert_eq!(error.kind, Kind::Build);
        assert_eq!(
            error.message,
            "cannot build `git`: returned a non-zero code: 1\n  | Step 2/3 : RUN false\n  | oh no"
        );
        assert_eq!(heard.lock().unwrap().len(), 4);
    }
}
