//! What the registry keeps: images under `infra/<commit>/<name>`, which are lap's, those of people, which always stay, and layers.

use std::collections::BTreeSet;

use super::{
    found::{Blob, ImageRepository, Inventory, Registry, StoredManifest},
    needs::{Needs, needed},
    young::{YOUNG, is_young},
};
use crate::wire::{
    paths::{REGISTRY_ADDRESS, REGISTRY_WRITES},
    prune::{ItemKind, PruneDecision, PruneRules, Todo},
};

/// The commit of a repository that is lap's.
fn commit(repository: &str) -> Option<&str> {
    let (commit, name) = repository.strip_prefix("infra/")?.split_once('/')?;
    let (id, _dirty) = commit.split_once('-').unwrap_or((commit, ""));
    let is_commit = id == "none" || (id.len() >= 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    (is_commit && !name.contains('/')).then_some(commit)
}

/// A name of an image without the address of the node's own registry. A killed push leaves a name with the address at which the registry
/// takes images.
pub fn without_registry(name: &str) -> &str {
    let path = |address: &&str| name.strip_prefix(*address)?.strip_prefix('/');
    [REGISTRY_ADDRESS, REGISTRY_WRITES].iter().find_map(path).unwrap_or(name)
}

/// A name of an image as people read it: without the address of the registry, what is long cut.
pub fn shown(name: &str) -> String {
    let name = without_registry(name);
    let cut = |part: &str, at: usize| part.chars().take(at).collect::<String>();
    let (path, digest) = name.split_once("@sha256:").unwrap_or((name, ""));
    let path = match path.strip_prefix("infra/").and_then(|rest| rest.split_once('/')) {
        Some((commit, rest)) => format!("infra/{}/{rest}", cut(commit, 12)),
        None => path.to_owned(),
    };
    if digest.is_empty() { path } else { format!("{path}@{}", cut(digest, 12)) }
}

/// That the registry's data cannot be looked at.
pub fn strange(found: &Inventory) -> Option<PruneDecision> {
    let why = found.strange_registry.clone()?;
    let decision = PruneDecision::stays(ItemKind::Registry, "all", "the data of the registry cannot be read");
    Some(PruneDecision { failed: Some(why), ..decision })
}

/// Each image in the registry.
pub fn manifests(found: &Inventory, needs: &Needs, rules: &PruneRules, now: i64) -> Vec<PruneDecision> {
    let Some(registry) = &found.registry else { return Vec::new() };
    registry.repositories.iter().flat_map(|repository| of_repository(found, repository, needs, rules, now)).collect()
}

fn of_repository(
    found: &Inventory,
    repository: &ImageRepository,
    needs: &Needs,
    rules: &PruneRules,
    now: i64,
) -> Vec<PruneDecision> {
    let Some(commit) = commit(&repository.name) else {
        return vec![PruneDecision::stays(ItemKind::Registry, &repository.name, "does not belong to lap")];
    };
    let why = |manifest: &StoredManifest| {
        let reference = format!("{REGISTRY_ADDRESS}/{}@{}", repository.name, manifest.digest);
        let newest = repository.uploading.map_or(manifest.since, |since| since.max(manifest.since));
        let in_docker = found.images.iter().find(|image| image.digests.contains(&reference));
        let needed = in_docker.and_then(|image| needed(image, needs));
        needs
            .reference(&reference, commit)
            .or(needed)
            .or_else(|| is_young(newest, rules, now).then(|| YOUNG.to_owned()))
    };
    // What an index that stays is made of stays, too.
    let stays: Vec<&StoredManifest> = repository.manifests.iter().filter(|manifest| why(manifest).is_some()).collect();
    let part = |digest: &str| stays.iter().any(|index| index.names.as_ref().is_none_or(|names| names.contains(digest)));
    let decide = |manifest: &StoredManifest| {
        let name = shown(&format!("{}@{}", repository.name, manifest.digest));
        match why(manifest) {
            Some(why) => PruneDecision::stays(ItemKind::Registry, name, why),
            None if part(&manifest.digest) => PruneDecision::stays(ItemKind::Registry, name, "a part of a kept image"),
            None => {
                let todo = Todo::Manifest {
                    repository: repository.name.clone(),
                    digest: manifest.digest.clone(),
                    names: names(found, repository, manifest),
                };
                PruneDecision::removed(ItemKind::Registry, name, "no kept item needs it", todo)
            }
        }
    };
    repository.manifests.iter().map(decide).collect()
}

/// What Docker calls it.
fn names(found: &Inventory, repository: &ImageRepository, manifest: &StoredManifest) -> Vec<String> {
    let place = format!("{REGISTRY_ADDRESS}/{}", repository.name);
    let digest = format!("{place}@{}", manifest.digest);
    let images = found.images.iter().filter(|image| image.digests.contains(&digest));
    let tag = |tag: &&String| tag.rsplit_once(':').is_some_and(|(name, _)| name == place);
    images
        .flat_map(|image| image.tags.iter().filter(tag).cloned().chain([digest.clone()]))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// The layers that no image names when what is to go is gone.
pub fn layers(found: &Inventory, manifests: &[PruneDecision], rules: &PruneRules, now: i64) -> Option<PruneDecision> {
    let mut registry = found.registry.clone()?;
    let goes = |of: &str, wanted: &str| {
        manifests.iter().any(|decision| match &decision.todo {
            Some(Todo::Manifest { repository, digest, .. }) => repository == of && digest == wanted,
            _ => false,
        })
    };
    for repository in &mut registry.repositories {
        let name = &repository.name;
        repository.manifests.retain(|manifest| !goes(name, &manifest.digest));
    }
    match unneeded(&registry, rules, now) {
        Err(why) => Some(PruneDecision::stays(ItemKind::Layers, "all", why)),
        Ok(list) if list.is_empty() => None,
        Ok(list) => {
            let name = if list.len() == 1 { "1 layer".to_owned() } else { format!("{} layers", list.len()) };
            let size = list.iter().map(|blob| blob.size).sum();
            let why = "no image in the registry names them";
            Some(PruneDecision::removed(ItemKind::Layers, name, why, Todo::Layers).with_size(size))
        }
    }
}

/// The blobs that no manifest names, and nobody was told of lately.
///
/// # Errors
/// A manifest cannot be read: it may name any.
pub fn unneeded<'a>(registry: &'a Registry, rules: &PruneRules, now: i64) -> Result<Vec<&'a Blob>, String> {
    let mut named = BTreeSet::new();
    for repository in &registry.repositories {
        for manifest in &repository.manifests {
            named.insert(manifest.digest.as_str());
            let Some(names) = &manifest.names else {
                return Err(format!("an image of `{}` cannot be read, and may need any layer", repository.name));
            };
            named.extend(names.iter().map(String::as_str));
        }
    }
    let lately = |blob: &Blob| {
        let linked = registry.linked.get(&blob.digest).copied().unwrap_or(i64::MIN);
        is_young(blob.since.max(linked), rules, now)
    };
    Ok(registry.blobs.iter().filter(|blob| !named.contains(blob.digest.as_str()) && !lately(blob)).collect())
}
