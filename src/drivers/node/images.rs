//! Images that `docker` nodes are made from, of every lab of this machine.

use std::collections::HashMap;

use bollard::{
    Docker,
    query_parameters::{ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptions},
};
use lap_base::error::Result;

use crate::docker::failed;

/// One of them.
#[derive(Clone, Debug)]
pub struct NodeImage {
    /// `lap/node:<identity>`
    pub tag: String,
    /// When it was made here (unix seconds).
    pub created: i64,
    pub size: u64,
    /// A container that is made from it.
    pub used_by: Option<String>,
}

/// All of them, and who is made from each.
///
/// # Errors
/// Docker does not answer.
pub async fn list(docker: &Docker) -> Result<Vec<NodeImage>> {
    let references = HashMap::from([("reference".to_owned(), vec!["lap/node".to_owned()])]);
    let images = ListImagesOptionsBuilder::new().filters(&references).build();
    let images = docker.list_images(Some(images)).await.map_err(|e| failed("cannot list images", &e))?;
    let containers = ListContainersOptionsBuilder::new().all(true).build();
    let containers = docker.list_containers(Some(containers)).await;
    let containers = containers.map_err(|e| failed("cannot list containers", &e))?;
    let mut all = Vec::new();
    for image in images {
        let made = containers.iter().find(|container| container.image_id.as_ref() == Some(&image.id));
        let name = made.and_then(|made| made.names.iter().flatten().next());
        let used_by = made.map(|_| name.map_or("a container", |name| name.trim_start_matches('/')).to_owned());
        let (created, size) = (image.created, image.size.cast_unsigned());
        all.extend(image.repo_tags.into_iter().map(|tag| NodeImage { tag, created, size, used_by: used_by.clone() }));
    }
    all.sort_by(|a, b| a.tag.cmp(&b.tag));
    Ok(all)
}

/// Removes one that no container is made from.
///
/// # Errors
/// One is by now.
pub async fn remove(docker: &Docker, tag: &str) -> Result<()> {
    let removed = docker.remove_image(tag, None::<RemoveImageOptions>, None).await;
    removed.map(|_| ()).map_err(|e| failed(&format!("cannot remove `{tag}`"), &e))
}
