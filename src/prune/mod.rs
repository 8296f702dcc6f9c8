//! What of all that piled up on a node may go, and why; and why the rest stays. What cannot be read may need anything: then nothing
//! goes that it could need.

pub mod found;
pub mod young;

mod images;
mod kept;
mod needs;
pub mod registry;
#[cfg(test)]
mod tests;

use lap_snapshots::order::Moment;

pub use self::found::{
    Blob, ImageRepository, InstalledFiles, Inventory, Registry, StoppedContainer, StoredImage, StoredManifest,
};
use self::needs::Needs;
pub use self::registry::unneeded;
use crate::wire::prune::{ItemKind, PruneDecision, PruneRules, Todo};

/// Decides, in the order in which things go: first what needs others, so that whoever is killed in the
/// middle leaves nothing that lacks something.
pub fn decide(found: &Inventory, rules: &PruneRules, moment: &Moment) -> Vec<PruneDecision> {
    let now = moment.at;
    let releases = kept::releases(found, rules);
    let stay: Vec<u64> = releases.iter().filter(|(_, decision)| decision.todo.is_none()).map(|(n, _)| *n).collect();
    let snapshots = kept::snapshots(found, &stay, rules, moment);
    let needs = Needs::of(found, &stay, &snapshots);
    let (registry, images) = (registry::manifests(found, &needs, rules, now), images::containers(found));
    let mut all: Vec<PruneDecision> = releases.into_iter().map(|(_, decision)| decision).collect();
    all.extend(kept::summary(found, snapshots));
    all.extend(images);
    all.extend(images::images(found, &needs, &registry, rules, now));
    all.extend(registry::strange(found));
    all.extend(images::files(found, &needs, rules, now));
    all.extend(registry::layers(found, &registry, rules, now));
    all.extend(found.build_cache.iter().map(|size| {
        PruneDecision::removed(ItemKind::BuildCache, size, "it only makes builds faster", Todo::BuildCache)
    }));
    // In the order of kinds, and of names where the list above has none of its own.
    all.extend(registry);
    all.sort_by_key(|decision| decision.what);
    all
}
