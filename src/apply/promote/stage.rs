//! What lies ready on the node before a switch, and what the node has recorded.

use lap_base::{archive::pack, error::Result};

use crate::{
    apply::{install::FileList, options::short},
    plan::switch::{Changes, changes},
    release::{Staged, desired_state::DesiredState, manifest::ReleaseManifest},
    wire::protocol::facts::NodeFacts,
};

/// Secrets of what is made anew, and names, where they differ from what is on the node.
pub(super) fn stage(
    contents: &crate::apply::install::Contents<'_>,
    desired: &DesiredState,
    changes: &Changes,
    facts: &NodeFacts,
) -> Result<Vec<(Staged, FileList)>> {
    let installed = contents.wished(desired, facts)?;
    let mut staged = Vec::new();
    for (name, ..) in changes.starts(desired) {
        let prefix = format!("secrets/{name}/");
        let mut wished = installed.files.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        let differs = wished.any(|(path, hash)| facts.installed.get(path) != Some(hash));
        if differs || installed.certificates.contains_key(name) {
            staged.push((Staged::Secrets(name.to_owned()), contents.secrets(&desired.containers[name])?));
        }
    }
    Ok(staged)
}

/// The archive of a place.
pub(super) fn packed(files: &FileList) -> Result<Vec<u8>> {
    pack(files.iter().map(|(name, mode, bytes)| (name.as_str(), *mode, bytes.as_slice())))
}

/// What is recorded on a node; `None`: nothing ran there.
///
/// # Errors
/// It cannot be read.
pub(super) fn recorded(facts: &NodeFacts) -> Result<Option<ReleaseManifest>> {
    facts.recorded.clone().value_or_refuse()
}

/// `release 4 (0123456789ab)`
pub fn named(current: &ReleaseManifest) -> String {
    match current.release {
        Some(number) => format!("release {number} ({})", short(&current.commit)),
        None => short(&current.commit),
    }
}

/// Compares for a plan.
pub(super) fn compare(target: &ReleaseManifest, old: &ReleaseManifest, facts: &NodeFacts) -> Changes {
    changes(&DesiredState::from(target.clone()), facts, Some(old))
}
