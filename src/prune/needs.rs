//! Who needs what: what runs, the releases that stay, and the snapshots that stay with the release that ran then.

use std::collections::BTreeMap;

use lap_snapshots::Id;

use crate::{release::manifest::ReleaseManifest, wire::prune::PruneDecision};

use super::found::{Inventory, StoredImage};

/// At most so many of those who need something are named.
const NAMED: usize = 3;

/// Who needs what.
#[derive(Debug, Default)]
pub struct Needs {
    /// By what an image was built from.
    builds: Who,
    /// By an image's full name in the registry.
    references: Who,
    /// By commit: what the registry has of it.
    commits: Who,
    /// `env/<digest>`, `checks/<digest>`
    files: Who,
    /// What may need anything: it cannot be read.
    unread: Vec<String>,
}

type Who = BTreeMap<String, Vec<String>>;

impl Needs {
    /// Of what runs, these releases, and the snapshots that stay.
    pub fn of(found: &Inventory, releases: &[u64], snapshots: &[(Id, PruneDecision)]) -> Self {
        let mut needs = Self::default();
        if let Some(current) = &found.current {
            needs.add("what runs".into(), current);
        }
        for (number, release) in found.releases.iter().filter(|(number, _)| releases.contains(number)) {
            needs.add(format!("release {number}"), release);
        }
        let goes = |id: &Id| snapshots.iter().any(|(of, decision)| of == id && decision.todo.is_some());
        for meta in found.snapshots.iter().filter(|meta| !goes(&meta.id)) {
            if let Some(current) = &meta.current {
                needs.add(format!("snapshot {}", meta.id), current);
            }
        }
        needs.unread.extend(found.damaged.iter().map(|id| format!("snapshot {id}")));
        needs
    }

    fn add(&mut self, who: String, json: &serde_json::Value) {
        let Ok(ReleaseManifest { commit, env, checks, images, .. }) =
            serde_json::from_value::<ReleaseManifest>(json.clone())
        else {
            return self.unread.push(who);
        };
        let add = |to: &mut Who, what: String| to.entry(what).or_default().push(who.clone());
        for image in images.into_values() {
            add(&mut self.builds, image.build);
            if let Some(reference) = image.reference {
                add(&mut self.references, reference);
            }
        }
        add(&mut self.commits, commit);
        add(&mut self.files, format!("env/{env}"));
        add(&mut self.files, format!("checks/{checks}"));
    }

    /// Who needs the image that was built from this.
    pub fn build(&self, build: &str) -> Option<String> {
        self.said(self.builds.get(build))
    }

    /// Who needs what the registry has under this name.
    pub fn reference(&self, reference: &str, commit: &str) -> Option<String> {
        self.said(self.references.get(reference).or_else(|| self.commits.get(commit)))
    }

    /// Who needs `env/<digest>` or `checks/<digest>`.
    pub fn files(&self, path: &str) -> Option<String> {
        self.said(self.files.get(path))
    }

    /// Why nothing may go, if so.
    pub fn unread(&self) -> Option<String> {
        (!self.unread.is_empty()).then(|| format!("{} cannot be read and may need it", listed(&self.unread)))
    }

    fn said(&self, who: Option<&Vec<String>>) -> Option<String> {
        match who {
            Some(who) => Some(format!("for {}", listed(who))),
            None => self.unread(),
        }
    }
}

fn listed(who: &[String]) -> String {
    let named = who.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match who.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Who needs an image.
pub fn needed(image: &StoredImage, needs: &Needs) -> Option<String> {
    let made = image.used_by.as_ref().map(|container| format!("`{container}` is made from it"));
    made.or_else(|| match &image.build {
        Some(build) => needs.build(build),
        // Layers of a build that did not end, or that a newer one took the name of.
        None => needs.unread(),
    })
}
