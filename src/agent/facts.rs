//! Looks at the node from inside: one answer with everything a plan needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use bollard::{
    Docker,
    models::{ContainerSummary, ImageSummary},
    query_parameters::{ListContainersOptionsBuilder, ListImagesOptionsBuilder},
};

use super::{
    health, install, paths, pool,
    protocol::{ContainerFact, Health, ImageFact, NodeFacts},
};
use crate::{
    drivers,
    error::{Kind, OrError, Result},
    keys,
};

/// The label that says "this is lap's": the container's name without `infra_`.
pub const LABEL_CONTAINER: &str = "lap.container";
/// The label with the hash of an image's inputs.
pub const LABEL_BUILD: &str = "lap.build";

/// Docker on this node, in the version it speaks.
///
/// # Errors
/// It does not answer.
pub async fn docker() -> Result<Docker> {
    let docker = Docker::connect_with_unix(paths::DOCKER, 3600, drivers::docker::OLDEST)
        .or_error(Kind::Node, || "cannot reach Docker".into())?;
    drivers::docker::settled(docker).await.or_error(Kind::Node, || "Docker does not answer".into())
}

/// Everything but what the agent itself knows (lock, journal). A node whose Docker does not answer has facts, too.
pub async fn look() -> NodeFacts {
    let files = tokio::task::spawn_blocking(files);
    let mut facts = NodeFacts { build: crate::BUILD.to_owned(), ..NodeFacts::default() };
    if let Ok(docker) = docker().await {
        let (containers, images) = tokio::join!(containers(&docker), images(&docker));
        if let (Ok(containers), Ok(images)) = (containers, images) {
            facts.docker = Some(docker.client_version().to_string());
            (facts.containers, facts.images) = (containers, images);
        }
    }
    if let Ok(files) = files.await {
        (facts.installed, facts.certificates, facts.current) = files;
    }
    facts.data = pool::facts();
    facts.snapshots = super::snapshots::facts();
    facts.push = super::push::read();
    facts.copies = super::copies::known();
    facts.admits = admits(&Path::new(paths::SSH).join("authorized_keys"));
    facts
}

type Files = (BTreeMap<String, String>, BTreeMap<String, String>, Option<serde_json::Value>);

fn files() -> Files {
    let mut installed = BTreeMap::new();
    for (place, dir) in
        [("secrets", paths::SECRETS), ("trust", paths::TRUST), ("names", paths::NAMES), ("policy", paths::POLICY)]
    {
        let hashes = install::hashes(Path::new(dir)).unwrap_or_default();
        installed.extend(hashes.into_iter().map(|(path, hash)| (format!("{place}/{path}"), hash)));
    }
    if let Ok(hashes) = install::hashes(Path::new(paths::SSH)) {
        installed.extend(hashes.get("authorized_keys").map(|hash| ("ssh/authorized_keys".to_owned(), hash.clone())));
    }
    // A directory has its digest's name only when it is whole.
    for (place, dir) in [("env", paths::ENV), ("checks", paths::CHECKS), ("images", paths::IMAGES)] {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            installed.insert(format!("{place}/{name}"), name);
        }
    }
    let mut certificates = BTreeMap::new();
    for entry in fs::read_dir(paths::SECRETS).into_iter().flatten().flatten() {
        if let Ok(pem) = fs::read_to_string(entry.path().join("tls.crt")) {
            certificates.insert(entry.file_name().to_string_lossy().into_owned(), pem);
        }
    }
    let current = fs::read(Path::new(paths::STATE).join("current.json")).ok();
    (installed, certificates, current.and_then(|text| serde_json::from_slice(&text).ok()))
}

/// Who may log in; `None`: that cannot be read.
fn admits(file: &Path) -> Option<Vec<(String, String)>> {
    match fs::read_to_string(file) {
        Ok(text) => Some(keys::admitted(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(Vec::new()),
        Err(_) => None,
    }
}

/// The names of the containers (without `infra_`) by their ids; none while Docker does not answer.
pub async fn names() -> BTreeMap<String, String> {
    let filters = std::collections::HashMap::from([("label".to_owned(), vec![LABEL_CONTAINER.to_owned()])]);
    let options = ListContainersOptionsBuilder::new().filters(&filters).build();
    let Ok(docker) = docker().await else { return BTreeMap::new() };
    let list = docker.list_containers(Some(options)).await.unwrap_or_default();
    list.into_iter().filter_map(|fact| Some((fact.id?, fact.labels?.get(LABEL_CONTAINER)?.clone()))).collect()
}

async fn containers(docker: &Docker) -> Result<Vec<ContainerFact>> {
    let filters = std::collections::HashMap::from([("label".to_owned(), vec![LABEL_CONTAINER.to_owned()])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let list = docker.list_containers(Some(options)).await;
    let mut facts: Vec<ContainerFact> =
        list.or_error(Kind::Node, || "cannot list containers".into())?.into_iter().filter_map(container).collect();
    // Docker asks a young container only after its interval; whoever looks now wants to know now.
    let checks = facts.iter_mut().filter(|fact| fact.health == Health::Starting).map(|fact| async {
        if health::check(docker, &fact.id).await.is_ok_and(|checked| checked.passed) {
            fact.health = Health::Healthy;
        }
    });
    futures_util::future::join_all(checks).await;
    facts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(facts)
}

fn container(summary: ContainerSummary) -> Option<ContainerFact> {
    // What a switch put aside runs no more, and is nobody's but the switch's.
    let aside = |name: &String| name.trim_start_matches('/').starts_with(super::switch::KEPT);
    if summary.names.iter().flatten().any(aside) {
        return None;
    }
    let labels: BTreeMap<String, String> = summary.labels.unwrap_or_default().into_iter().collect();
    let status = summary.status.unwrap_or_default();
    let health = match &status {
        s if s.contains("(healthy)") => Health::Healthy,
        s if s.contains("(unhealthy)") => Health::Unhealthy,
        s if s.contains("health: starting") => Health::Starting,
        _ => Health::None,
    };
    Some(ContainerFact {
        name: labels.get(LABEL_CONTAINER)?.clone(),
        id: summary.id?,
        image: summary.image.unwrap_or_default(),
        labels,
        state: summary.state.map(|state| state.to_string()).unwrap_or_default(),
        health,
        created: summary.created.unwrap_or_default(),
        status,
    })
}

async fn images(docker: &Docker) -> Result<Vec<ImageFact>> {
    let options = ListImagesOptionsBuilder::new().build();
    let mut list = docker.list_images(Some(options)).await.or_error(Kind::Node, || "cannot list images".into())?;
    own_labels(&mut list);
    Ok(list.into_iter().map(image).collect())
}

/// An image inherits the labels of what it stands on: what a failed build left, or somebody's own image, says it was built from what
/// the one below was. That one is older: of those that say the same, only the oldest is believed.
pub(super) fn own_labels(list: &mut [ImageSummary]) {
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
    fn a_file_that_cannot_be_read_does_not_admit_nobody() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(admits(&dir.path().join("missing")), Some(Vec::new()));
        assert_eq!(admits(dir.path()), None);
    }

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
