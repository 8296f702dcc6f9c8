//! All that is on the node and may not be needed any more.

use std::{collections::HashMap, fs, os::unix::fs::MetadataExt, path::Path, process::Command};

use bollard::{
    Docker,
    models::ContainerSummary,
    query_parameters::{ListContainersOptionsBuilder, ListImagesOptionsBuilder},
};
use lap_base::{
    error::{Error, Kind, OrError, Result},
    state::{self, State},
};
use lap_snapshots as snapshot;

use super::{recover::registry_data, registry};
use crate::{
    agent::{docker::own_labels, pool, recorded},
    prune::{InstalledFiles, Inventory, StoppedContainer, StoredImage},
    release::manifest::ReleaseManifest,
    wire::{
        labels::{KEPT, LABEL_BUILD, LABEL_CHECK, LABEL_CONTAINER},
        paths,
    },
};

/// Looks. `checks`: none run, so that containers of checks are left over.
///
/// # Errors
/// Docker does not answer, or something cannot be read that has to be known.
pub async fn take_inventory(docker: &Docker, checks: bool) -> Result<Inventory> {
    let options = ListContainersOptionsBuilder::new().all(true).build();
    let all = docker.list_containers(Some(options)).await.or_error(Kind::Node, || "cannot list containers".into())?;
    let options = ListImagesOptionsBuilder::new().build();
    let mut images = docker.list_images(Some(options)).await.or_error(Kind::Node, || "cannot list images".into())?;
    own_labels(&mut images);
    let used_by: HashMap<&str, String> =
        all.iter().filter_map(|container| Some((container.image_id.as_deref()?, name(container)))).collect();
    let images = images.into_iter().map(|image| StoredImage {
        used_by: used_by.get(image.id.as_str()).cloned(),
        build: image.labels.get(LABEL_BUILD).cloned(),
        tags: named(image.repo_tags),
        digests: named(image.repo_digests),
        created: image.created,
        size: image.size.cast_unsigned(),
        id: image.id,
    });
    let found = Inventory {
        images: images.collect(),
        containers: all.iter().filter_map(|container| stopped(container, checks)).collect(),
        files: files(&mounted(&all))?,
        ..Inventory::default()
    };
    let work = move || -> Result<Inventory> {
        let recorded = recorded::read(Path::new(paths::STATE));
        recorded.chain.map_err(Error::from)?;
        if let Some(unreadable) = recorded.directory {
            return Err(unreadable.into());
        }
        let (snapshots, damaged) = snapshot::all(pool::path()?)?;
        // The registry decides what its data is: nothing of it goes then, and all else as usual.
        let (registry, strange_registry) = match registry::read_registry(&registry_data()) {
            Ok(registry) => (registry, None),
            Err(error) => (None, Some(error.message)),
        };
        Ok(Inventory {
            current: recorded.current.value_or_refuse()?.map(|current| serde_json::json!(current)),
            releases: recorded.releases.into_iter().map(|(number, release)| (number, known(release))).collect(),
            ledger: recorded.ledger,
            snapshots,
            damaged: damaged.into_iter().map(|damaged| damaged.id).collect(),
            registry,
            strange_registry,
            build_cache: build_cache(),
            ..found
        })
    };
    tokio::task::spawn_blocking(work).await.or_error(Kind::Other, || "the agent".into())?
}

/// Docker lists what has no name with one.
fn named(names: Vec<String>) -> Vec<String> {
    names.into_iter().filter(|name| !name.starts_with("<none>")).collect()
}

fn name(container: &ContainerSummary) -> String {
    let name = container.names.iter().flatten().next().map(|name| name.trim_start_matches('/').to_owned());
    name.or_else(|| container.id.clone()).unwrap_or_default()
}

/// One that is lap's and does not run.
fn stopped(container: &ContainerSummary, checks: bool) -> Option<StoppedContainer> {
    let state = container.state.as_ref().map(ToString::to_string).unwrap_or_default();
    if !["created", "exited", "dead"].contains(&state.as_str()) {
        return None;
    }
    let label = |name: &str| container.labels.as_ref().and_then(|labels| labels.get(name)).cloned();
    let name = name(container);
    let of = match (label(LABEL_CONTAINER), label(LABEL_CHECK)) {
        (Some(_), _) if name.starts_with(KEPT) => None,
        (Some(of), _) => Some(of),
        (None, Some(_)) if checks => None,
        _ => return None,
    };
    Some(StoppedContainer { id: container.id.clone()?, name, of, state })
}

/// What containers have mounted: source and who.
fn mounted(all: &[ContainerSummary]) -> Vec<(String, String)> {
    let of = |container: &ContainerSummary| {
        let sources = container.mounts.clone().unwrap_or_default().into_iter().filter_map(|mount| mount.source);
        sources.map(|source| (source, name(container))).collect::<Vec<_>>()
    };
    all.iter().flat_map(of).collect()
}

fn files(mounted: &[(String, String)]) -> Result<Vec<InstalledFiles>> {
    let mut all = Vec::new();
    for (place, dir) in [("env", paths::ENV), ("checks", paths::CHECKS), ("staged", paths::STAGED)] {
        for name in state::names(Path::new(dir)).value_or_refuse()?.unwrap_or_default() {
            let path = Path::new(dir).join(&name);
            let below = |source: &str| Path::new(source).starts_with(&path);
            all.push(InstalledFiles {
                place: place.to_owned(),
                // When it got its name, whatever its content says.
                since: fs::symlink_metadata(&path).map_or(i64::MAX, |meta| meta.ctime()),
                used_by: mounted.iter().find(|(source, _)| below(source)).map(|(_, who)| who.clone()),
                name,
            });
        }
    }
    all.sort_by(|a, b| (&a.place, &a.name).cmp(&(&b.place, &b.name)));
    Ok(all)
}

/// A release; null where its file cannot be read.
fn known(release: State<ReleaseManifest>) -> serde_json::Value {
    match release {
        State::Value(release) => serde_json::json!(release),
        _ => serde_json::Value::Null,
    }
}

/// What the builder could give back; `None`: nothing. bollard cannot read what daemons of this age answer.
fn build_cache() -> Option<String> {
    let output = Command::new("docker").args(["system", "df", "--format", "{{.Type}}\t{{.Reclaimable}}"]).output();
    reclaimable(&String::from_utf8_lossy(&output.ok()?.stdout))
}

fn reclaimable(said: &str) -> Option<String> {
    let line = said.lines().find_map(|line| line.strip_prefix("Build Cache\t"))?;
    let size = line.split_whitespace().next().unwrap_or_default();
    (size != "0B" && !size.is_empty()).then(|| size.to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_the_builder_could_give_back() {
        let said = |cache: &str| format!("Images\t1.2GB (30%)\nContainers\t0B\nBuild Cache\t{cache}\n");
        assert_eq!(super::reclaimable(&said("0B")), None);
        assert_eq!(super::reclaimable(&said("12.5MB")), Some("12.5MB".to_owned()));
        assert_eq!(super::reclaimable(""), None);
    }
}
