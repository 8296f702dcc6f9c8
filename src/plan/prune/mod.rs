//! What of all that piled up on a node may go, and why; and why the rest stays. What cannot be read may need anything: then nothing
//! goes that it could need.

mod found;
pub mod host;
mod images;
mod kept;
mod needs;
mod registry;
#[cfg(test)]
mod tests;

pub use found::{Blob, Container, Files, Found, Image, Manifest, Registry, Repository};
use needs::Needs;
pub use registry::unneeded;
use serde::{Deserialize, Serialize};

use crate::snapshot::Id;

/// What decides, beside what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// So many of the newest releases stay.
    pub keep: u64,
    /// Seconds that the data of failed releases stays, and the data before those that are gone.
    pub keep_failed: u64,
    /// What came in the last so many seconds stays: somebody may be about to use it.
    pub grace: u64,
}

/// What kind of thing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    Release,
    Snapshot,
    Container,
    Image,
    Files,
    /// An image in the registry.
    Registry,
    /// Layers in the registry that no image there names.
    Layers,
    BuildCache,
    /// What nodes are made from, on the machine where they live.
    NodeImage,
}

/// One thing, or several of a kind, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    pub what: What,
    /// For people.
    pub name: String,
    /// Bytes, where they are known; of an image all, also what it shares with others.
    pub size: Option<u64>,
    /// Why it stays, or goes.
    pub why: String,
    /// What takes it away; `None`: it stays.
    pub todo: Option<Todo>,
    /// Why it could not be taken away.
    pub failed: Option<String>,
}

/// How one thing is taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Todo {
    Release(u64),
    Snapshot(Id),
    /// By Docker's id.
    Container(String),
    /// Each of its names, then the image, by Docker's id.
    Image {
        id: String,
        names: Vec<String>,
    },
    Files {
        place: String,
        name: String,
    },
    /// Of the registry; before it, these names that Docker has for it: nobody may be told that it is there.
    Manifest {
        repository: String,
        digest: String,
        names: Vec<String>,
    },
    Layers,
    BuildCache,
    NodeImage(String),
}

impl Decision {
    fn stays(what: What, name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what, name: name.into(), size: None, why: why.into(), todo: None, failed: None }
    }

    fn goes(what: What, name: impl Into<String>, why: impl Into<String>, todo: Todo) -> Self {
        Self { todo: Some(todo), ..Self::stays(what, name, why) }
    }

    fn of(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }
}

/// Decides at `now` (unix seconds), in the order in which things go: first what needs others, so that whoever is killed in the
/// middle leaves nothing that lacks something.
pub fn decide(found: &Found, rules: &Rules, now: i64) -> Vec<Decision> {
    let releases = kept::releases(found, rules);
    let stay: Vec<u64> = releases.iter().filter(|(_, decision)| decision.todo.is_none()).map(|(n, _)| *n).collect();
    let snapshots = kept::snapshots(found, &stay, rules, now);
    let needs = Needs::of(found, &stay, &snapshots);
    let (registry, images) = (registry::manifests(found, &needs, rules, now), images::containers(found));
    let mut all: Vec<Decision> = releases.into_iter().map(|(_, decision)| decision).collect();
    all.extend(kept::summary(snapshots));
    all.extend(images);
    all.extend(images::images(found, &needs, &registry, rules, now));
    all.extend(registry::strange(found));
    all.extend(images::files(found, &needs, rules, now));
    all.extend(registry::layers(found, &registry, rules, now));
    all.extend(
        found
            .build_cache
            .iter()
            .map(|size| Decision::goes(What::BuildCache, size, "it only makes builds faster", Todo::BuildCache)),
    );
    // In the order of kinds, and of names where the list above has none of its own.
    all.extend(registry);
    all.sort_by_key(|decision| decision.what);
    all
}

/// Whether something came so lately that somebody may be about to use it.
fn is_young(since: i64, rules: &Rules, now: i64) -> bool {
    now.saturating_sub(since) < i64::try_from(rules.grace).unwrap_or(i64::MAX)
}

const YOUNG: &str = "it is new: a running command may need it";
