//! What is in the node's Docker, and the directories that were installed for its containers.

use super::{
    found::{Inventory, StoredImage},
    needs::{Needs, needed},
    registry::{shown, without_registry},
    young::{YOUNG, is_young},
};
use crate::{
    release::manifest::ReleaseManifest,
    wire::{
        paths::REGISTRY_ADDRESS,
        prune::{ItemKind, PruneDecision, PruneRules, Todo},
    },
};

/// Containers that do not run.
pub fn containers(found: &Inventory) -> Vec<PruneDecision> {
    let current = found.current.clone().and_then(|json| serde_json::from_value::<ReleaseManifest>(json).ok());
    let wished = |name: &str| {
        current.as_ref().is_none_or(|current| current.containers.get(name).is_some_and(|desired| desired.scale > 0))
    };
    let decide = |container: &super::found::StoppedContainer| {
        let (what, name, todo) = (ItemKind::Container, container.name.clone(), Todo::Container(container.id.clone()));
        let state = &container.state;
        match &container.of {
            Some(of) if wished(of) => {
                PruneDecision::stays(what, name, format!("it is {state}, and should run: `lap up` starts it"))
            }
            Some(_) => PruneDecision::removed(what, name, format!("it is {state}, and should not run"), todo),
            None => PruneDecision::removed(what, name, format!("it is {state}: a killed command left it"), todo),
        }
    };
    found.containers.iter().map(decide).collect()
}

/// Whether lap gave an image this name.
fn is_ours(name: &str) -> bool {
    without_registry(name).starts_with("infra/")
}

/// Images; `registry` is what becomes of those in the registry.
pub fn images(
    found: &Inventory,
    needs: &Needs,
    registry: &[PruneDecision],
    rules: &PruneRules,
    now: i64,
) -> Vec<PruneDecision> {
    let goes_there = |name: &String| {
        registry.iter().any(|decision| match &decision.todo {
            Some(Todo::Manifest { names, .. }) => names.contains(name),
            _ => false,
        })
    };
    let decide = |image: &StoredImage| {
        let names = || image.tags.iter().chain(&image.digests);
        let name = match names().next() {
            Some(name) => shown(name),
            None => image.id.trim_start_matches("sha256:").chars().take(12).collect(),
        };
        let stays = |why: String| PruneDecision::stays(ItemKind::Image, &name, why).with_size(image.size);
        if let Some(other) = names().find(|name| !is_ours(name)) {
            return stays(format!("does not belong to lap: `{other}`"));
        }
        if let Some(why) = needed(image, needs) {
            return stays(why);
        }
        // One that is in the registry, and stays there, is somebody's.
        if let Some(there) = image.digests.iter().find(|name| name.starts_with(REGISTRY_ADDRESS) && !goes_there(name))
            && registry.iter().any(|decision| decision.todo.is_none() && decision.name == shown(there))
        {
            return stays("its image in the registry stays".into());
        }
        if found.strange_registry.is_some() && image.digests.iter().any(|name| name.starts_with(REGISTRY_ADDRESS)) {
            return stays("the data of the registry cannot be read, and may contain it".into());
        }
        if is_young(image.created, rules, now) {
            return stays(YOUNG.into());
        }
        let why = if image.build.is_some() { "no kept item needs it" } else { "remains of a build" };
        let todo = Todo::Image { id: image.id.clone(), names: names().cloned().collect() };
        PruneDecision::removed(ItemKind::Image, &name, why, todo).with_size(image.size)
    };
    found.images.iter().map(decide).collect()
}

/// Directories that were installed.
pub fn files(found: &Inventory, needs: &Needs, rules: &PruneRules, now: i64) -> Vec<PruneDecision> {
    let decide = |files: &super::found::InstalledFiles| {
        let path = format!("{}/{}", files.place, files.name);
        let name = path.chars().take(files.place.len() + 13).collect::<String>();
        let stays = |why: String| PruneDecision::stays(ItemKind::Files, &name, why);
        if let Some(why) = needs.files(&path) {
            return stays(why);
        }
        if let Some(container) = &files.used_by {
            return stays(format!("`{container}` has it mounted"));
        }
        if is_young(files.since, rules, now) {
            return stays(YOUNG.into());
        }
        let todo = Todo::Files { place: files.place.clone(), name: files.name.clone() };
        PruneDecision::removed(ItemKind::Files, &name, "no kept item needs it", todo)
    };
    found.files.iter().map(decide).collect()
}
