//! The images of this node's Docker.

use bollard::{Docker, models::ImageSummary, query_parameters::ListImagesOptionsBuilder};
use lap_base::error::{Kind, OrError, Result};

use crate::wire::{labels::LABEL_BUILD, protocol::ImageFact};
use std::collections::BTreeSet;

/// All images.
///
/// # Errors
/// Docker does not answer.
pub async fn images(docker: &Docker) -> Result<Vec<ImageFact>> {
    let options = ListImagesOptionsBuilder::new().build();
    let mut list = docker.list_images(Some(options)).await.or_error(Kind::Node, || "cannot list images".into())?;
    own_labels(&mut list);
    Ok(list.into_iter().map(image).collect())
}

/// An image inherits the labels of its base image, so an image that a failed build left, or a foreign image, can have the label of its base.
/// The base is older: of several images with the same label, only the oldest counts.
pub fn own_labels(list: &mut [ImageSummary]) {
    let mut seen = BTreeSet::new();
    let mut oldest_first: Vec<&mut ImageSummary> = list.iter_mut().collect();
    // Of the same second: the one that has a name.
    oldest_first.sort_by_key(|image| (image.created, count_names(image) == 0));
    for image in oldest_first {
        let build = image.labels.get(LABEL_BUILD).cloned();
        if build.is_some_and(|build| !seen.insert(build)) {
            image.labels.remove(LABEL_BUILD);
        }
    }
}

fn count_names(image: &ImageSummary) -> usize {
    image.repo_tags.iter().chain(&image.repo_digests).filter(|name| !name.starts_with("<none>")).count()
}

fn image(summary: ImageSummary) -> ImageFact {
    ImageFact {
        build: summary.labels.get(LABEL_BUILD).cloned(),
        id: summary.id,
        tags: summary.repo_tags,
        digests: summary.repo_digests,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_image_inherited_is_not_believed() {
        let image = |id: &str, created: i64, tag: &str, build: &str| ImageSummary {
            id: id.into(),
            created,
            repo_tags: vec![tag.into()],
            labels: [(LABEL_BUILD.to_owned(), build.to_owned())].into(),
            ..ImageSummary::default()
        };
        let mut list = [
            image("left over", 9, "<none>:<none>", "b1"),
            image("somebody's", 7, "mine:1", "b1"),
            image("at once", 5, "<none>:<none>", "b1"),
            image("one", 5, "infra/one:latest", "b1"),
            image("without a name", 1, "<none>:<none>", "b0"),
        ];
        own_labels(&mut list);
        let built: Vec<&str> =
            list.iter().filter(|image| image.labels.contains_key(LABEL_BUILD)).map(|image| image.id.as_str()).collect();
        assert_eq!(built, ["one", "without a name"]);
    }
}
