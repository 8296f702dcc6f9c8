//! `lap keys trust [--undo]`: makes this machine trust the lab's root certificate, in the system's store and for
//! Docker (`certs.d`, which dockerd reads at each pull: no restart).
//!
//! Three beats: [`observe()`] what is there, [`plan`] what to change (pure; each change prints as one line), [`apply()`].

mod apply;
pub mod machine;
mod observe;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::certificate;

use self::machine::{DOCKER, DOCKER_FILE, FileFacts, TrustChange, TrustInputs, anchor};
pub use apply::{apply, run_command};
pub use observe::observe;

/// The changes that make the machine trust the lab, or take that back; empty: nothing to do. Pure.
pub fn plan(inputs: &TrustInputs, facts: &FileFacts) -> Vec<TrustChange> {
    if inputs.undo { plan_undo(inputs, facts) } else { plan_install(inputs, facts) }
}

fn plan_install(inputs: &TrustInputs, facts: &FileFacts) -> Vec<TrustChange> {
    let put = |path: PathBuf| match facts.files.get(&path) {
        Some(content) if content.starts_with(&inputs.certificate) => None,
        Some(content) => Some(match after_ours(content, inputs) {
            Some(rest) => TrustChange::Write { path, content: format!("{}{rest}", inputs.certificate) },
            None => TrustChange::Foreign(path),
        }),
        None => Some(TrustChange::Write { path, content: inputs.certificate.clone() }),
    };
    let mut changes = Vec::new();
    if let Some(store) = facts.store {
        let write = put(store.anchors().join(anchor(&inputs.lab)));
        let update = write.is_some() || !facts.bundled;
        changes.extend(write);
        changes.extend(update.then_some(TrustChange::Update(store)));
    }
    let places: BTreeSet<_> = inputs.registries.iter().map(|r| Path::new(DOCKER).join(r).join(DOCKER_FILE)).collect();
    changes.extend(places.into_iter().filter_map(put));
    changes
}

/// What follows the lab's root certificate in a file that begins with it. It may be an older certificate of the same root.
fn after_ours<'a>(content: &'a str, inputs: &TrustInputs) -> Option<&'a str> {
    if let Some(rest) = content.strip_prefix(&inputs.certificate) {
        return Some(rest);
    }
    let (first, rest) = certificate::split_first(content);
    certificate::is_same_authority(first.as_bytes(), inputs.certificate.as_bytes()).then_some(rest)
}

fn plan_undo(inputs: &TrustInputs, facts: &FileFacts) -> Vec<TrustChange> {
    let mut changes = Vec::new();
    for (path, content) in &facts.files {
        let Some(rest) = after_ours(content, inputs) else { continue };
        if !rest.trim().is_empty() {
            // Somebody added their own below ours: that is not ours to remove.
            changes.push(TrustChange::Write { path: path.clone(), content: rest.trim_start().to_owned() });
            continue;
        }
        changes.push(TrustChange::Remove(path.clone()));
        if let Some(dir) = path.parent().filter(|d| facts.disposable.contains(*d)) {
            changes.push(TrustChange::RemoveDirectory(dir.to_owned()));
        }
    }
    if let Some(store) = facts.store {
        let file = store.anchors().join(anchor(&inputs.lab));
        let present = facts.files.get(&file);
        // In the bundle without any file: what an undo leaves that was killed before its last step.
        let leftover = present.is_none() && facts.bundled && !facts.elsewhere;
        if leftover || present.is_some_and(|content| after_ours(content, inputs).is_some()) {
            changes.push(TrustChange::Forget(store, anchor(&inputs.lab)));
        }
    }
    changes
}

#[cfg(test)]
mod tests;
