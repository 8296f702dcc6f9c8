//! Looks at the node from inside: one answer with everything a plan needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use bollard::{
    Docker,
    models::{ContainerSummary, ImageSummary},
    query_parameters::{ListContainersOptionsBuilder, ListImagesOptionsBuilder},
};

use super::{health, install, pool, recorded};
use crate::{
    drivers,
    error::{Kind, OrError, Result},
    keys,
    state::{self, State, Unreadable},
    wire::{
        labels::{LABEL_BUILD, LABEL_CONTAINER},
        paths,
        protocol::{ContainerFact, Health, ImageFact, NodeFacts},
    },
};

/// Docker on this node, in the version it speaks.
///
/// # Errors
/// It does not answer.
pub async fn docker() -> Result<Docker> {
    let docker = Docker::connect_with_unix(paths::DOCKER, 3600, crate::wire::client::OLDEST)
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
    let recorded = recorded::look(Path::new(paths::STATE));
    facts.next_release = recorded.next_number();
    facts.unreadable = recorded.unreadable();
    facts.recorded = recorded.current;
    match files.await {
        Ok(files) => {
            (facts.installed, facts.certificates) = (files.installed, files.certificates);
            facts.unreadable.extend(files.unreadable);
        }
        Err(error) => facts.unreadable.push(Unreadable::new(paths::HOME, error.to_string())),
    }
    facts.data = pool::facts();
    let (snapshots, unreadable) = super::snapshots::facts();
    facts.snapshots = snapshots;
    facts.unreadable.extend(unreadable);
    let (push, unreadable) = super::push::read().value_and_complaint();
    facts.push = push;
    facts.unreadable.extend(unreadable);
    let (copies, unreadable) = super::copies::known().value_and_complaint();
    facts.copies = copies.unwrap_or_default();
    facts.unreadable.extend(unreadable);
    facts.admits = admits(&Path::new(paths::SSH).join("authorized_keys"));
    facts
}

/// What was installed, as far as it can be read.
#[derive(Default)]
struct Installed {
    /// `<place>/<path>` → sha256.
    installed: BTreeMap<String, String>,
    certificates: BTreeMap<String, String>,
    unreadable: Vec<Unreadable>,
}

impl Installed {
    /// What is in a directory; one that is absent is empty. What cannot be read is not listed, so that it differs from what is wished for
    /// and is installed anew.
    fn hashes(&mut self, place: &str, dir: &str) {
        let (hashes, unreadable) = install::hashes(Path::new(dir));
        self.installed.extend(hashes.into_iter().map(|(path, hash)| (format!("{place}/{path}"), hash)));
        self.complain(unreadable);
    }

    fn names(&mut self, dir: &str) -> Vec<String> {
        let (names, unreadable) = state::names(Path::new(dir)).value_and_complaint();
        self.complain(unreadable);
        names.unwrap_or_default()
    }

    fn complain(&mut self, unreadable: impl IntoIterator<Item = Unreadable>) {
        let hint = "run `lap up` on an operator's machine to install it again";
        self.unreadable.extend(unreadable.into_iter().map(|unreadable| unreadable.hint(hint)));
    }
}

fn files() -> Installed {
    let mut all = Installed::default();
    for (place, dir) in
        [("secrets", paths::SECRETS), ("trust", paths::TRUST), ("names", paths::NAMES), ("policy", paths::POLICY)]
    {
        all.hashes(place, dir);
    }
    let mut ssh = Installed::default();
    ssh.hashes("ssh", paths::SSH);
    all.installed.extend(ssh.installed.remove_entry("ssh/authorized_keys"));
    all.unreadable.extend(ssh.unreadable.into_iter().filter(|it| it.path.ends_with("authorized_keys")));
    // A directory has its digest's name only when it is whole.
    for (place, dir) in [("env", paths::ENV), ("checks", paths::CHECKS), ("images", paths::IMAGES)] {
        for name in all.names(dir) {
            all.installed.insert(format!("{place}/{name}"), name);
        }
    }
    for container in all.names(paths::SECRETS) {
        let path = Path::new(paths::SECRETS).join(&container).join("tls.crt");
        // One that cannot be read is in the list already, and counts as none: a new one is issued.
        if let State::Value(pem) = state::bytes(&path) {
            all.certificates.insert(container, String::from_utf8_lossy(&pem).into_owned());
        }
    }
    all
}

/// Who may log in; `None`: that cannot be read.
fn admits(file: &Path) -> Option<Vec<(String, String)>> {
    match state::bytes(file) {
        State::Value(text) => Some(keys::admitted(&String::from_utf8_lossy(&text))),
        State::Absent => Some(Vec::new()),
        State::Unreadable(_) => None,
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
    let aside = |name: &String| name.trim_start_matches('/').starts_with(crate::wire::labels::KEPT);
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
