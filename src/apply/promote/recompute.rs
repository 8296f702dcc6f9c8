//! What an environment says it runs, compared with what the commit says: every definition is read here, from the operator's clone, by the
//! reader that `lap up` and a push use.

use std::collections::{BTreeMap, BTreeSet};

use lap_base::{
    error::{Error, Kind, Result},
    words::{plain, shown},
};

use crate::{
    apply::{bases, options::short},
    observe::{
        commit,
        context::Context,
        working_tree::{WorkingTree, tree},
    },
    release::{
        desired_state::DesiredState,
        manifest::{ImageSpec, ReleaseManifest},
    },
    wire::{paths::REGISTRY_ADDRESS, protocol::NodeFacts},
    workspace::Workspace,
};

/// What the commit says, and the images with which it was tested.
pub struct Recomputed {
    pub desired: DesiredState,
    /// Containers whose images could not be recomputed, since what they were built with is not known.
    pub unsure: BTreeSet<String>,
}

/// Reads the commit that `at` is a checkout of, and compares it with what `environment` says it runs. `here`: the working tree. `makers`: what is known of the nodes that
/// may have built the images; `None`: that one does not answer.
///
/// # Errors
/// Something differs: all of it by name.
pub fn recompute(
    here: &Workspace,
    at: &Workspace,
    environment: &str,
    runs: &ReleaseManifest,
    makers: &[Option<&NodeFacts>],
) -> Result<Recomputed> {
    let name = environment;
    if !at.lab.environments.contains_key(name) {
        return Err(Error::new(Kind::Refused, format!("commit {} has no environment `{name}`", short(&runs.commit))));
    }
    let candidates = makers.iter().map(|facts| Candidate::of(at, name, *facts)).collect::<Result<Vec<_>>>()?;
    let Some(first) = candidates.first() else {
        return Err(Error::new(Kind::Other, "no node could build the images"));
    };
    let mut desired = first.tree.desired.clone();
    let mut differ = definitions(&desired, runs);
    let mut unsure = BTreeSet::new();
    for (container, image) in &mut desired.images {
        let Some(tested) = runs.images.get(container) else {
            differ.entry(container.clone()).or_default().push("image".into());
            continue;
        };
        let is = |candidate: &Candidate| candidate.tree.desired.images[container].build == tested.build;
        if !candidates.iter().any(is) {
            let known = candidates.iter().all(|candidate| !candidate.unsure.contains(container));
            if known || !is_build(&tested.build) {
                differ.entry(container.clone()).or_default().push("image".into());
            }
            unsure.insert(container.clone());
        }
        if tested.parents != image.parents || !tested.reference.as_deref().is_none_or(|is| is_reference(is, container))
        {
            differ.entry(container.clone()).or_default().push("its image".into());
        }
        // Its content is what was tested there: nothing here can say more of it than this.
        *image = ImageSpec {
            build: tested.build.clone(),
            parents: image.parents.clone(),
            reference: tested.reference.clone(),
        };
    }
    if differ.is_empty() {
        return Ok(Recomputed { desired, unsure });
    }
    let list: Vec<String> = differ.iter().map(|(what, fields)| line(what, fields)).collect();
    let message = format!("`{name}` does not run what commit {} says: {}", short(&runs.commit), list.join("; "));
    let error = Error::new(Kind::Refused, message).hint(format!("check that commit out and run `lap up {name}`"));
    Err(match beside(here, at, runs, &differ)? {
        Some(file) => error.hint(format!("{} is in this working tree and not in the commit, and lap builds images and environment files from the working tree: remove it, or commit it", shown(&file))),
        None => error,
    })
}

fn line(what: &str, fields: &[String]) -> String {
    if fields.is_empty() { shown(what) } else { format!("{}: {}", shown(what), plain(&fields.join(", "))) }
}

/// What the commit says if the images were built by this node.
struct Candidate {
    tree: WorkingTree,
    /// Containers of which that cannot be said.
    unsure: BTreeSet<String>,
}

impl Candidate {
    fn of(at: &Workspace, environment: &str, maker: Option<&NodeFacts>) -> Result<Self> {
        let id = |image: &str| maker.and_then(|facts| bases::id(facts, image));
        let tree = tree(&at.lab, environment, id)?;
        let containers = &at.lab.containers;
        let own = |name: &String| {
            // An image by digest is known by its name, another one by its id on the node.
            let gone = tree.bases[name].iter().any(|base| !base.contains('@') && id(base).is_none());
            // Which lap made it is not recorded.
            gone || containers[name].build.with_lap
        };
        let mut unsure: BTreeSet<String> = containers.keys().filter(|name| own(name)).cloned().collect();
        loop {
            let stands = |name: &&String| containers[*name].build.parents.iter().any(|on| unsure.contains(on));
            let more: Vec<String> =
                containers.keys().filter(|name| !unsure.contains(*name)).filter(stands).cloned().collect();
            if more.is_empty() {
                return Ok(Self { tree, unsure });
            }
            unsure.extend(more);
        }
    }
}

/// What differs beside the images, by container.
pub fn definitions(says: &DesiredState, runs: &ReleaseManifest) -> BTreeMap<String, Vec<String>> {
    let mut differ = BTreeMap::new();
    let names: BTreeSet<&String> =
        says.containers.keys().chain(runs.containers.keys()).chain(runs.images.keys()).collect();
    for name in names {
        let fields = match (says.containers.get(name), runs.containers.get(name)) {
            (Some(says), Some(runs)) => fields(says, runs),
            (Some(_), None) => vec!["missing there".to_owned()],
            (None, _) => vec!["the commit has no such container".to_owned()],
        };
        if !fields.is_empty() {
            differ.insert(name.clone(), fields);
        }
    }
    if says.checks != runs.checks {
        differ.insert("checks".into(), Vec::new());
    }
    if says.env != runs.env {
        differ.insert("env".into(), Vec::new());
    }
    differ
}

/// The keys in which two definitions differ, as they are recorded.
fn fields(says: &impl serde::Serialize, runs: &impl serde::Serialize) -> Vec<String> {
    let json = |value: Result<serde_json::Value, serde_json::Error>| match value {
        Ok(serde_json::Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    let (says, runs) = (json(serde_json::to_value(says)), json(serde_json::to_value(runs)));
    let keys: BTreeSet<&String> = says.keys().chain(runs.keys()).collect();
    keys.into_iter().filter(|key| says.get(*key) != runs.get(*key)).cloned().collect()
}

fn is_build(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `<registry>/infra/<commit>/<container>@sha256:…`
fn is_reference(text: &str, container: &str) -> bool {
    let parts = || {
        let (path, digest) = text.strip_prefix(REGISTRY_ADDRESS)?.strip_prefix("/infra/")?.split_once("@sha256:")?;
        let (commit, name) = path.split_once('/')?;
        Some((commit, name, digest))
    };
    parts().is_some_and(|(commit, name, digest)| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        name == container
            && !commit.is_empty()
            && commit.bytes().all(plain)
            && digest.len() == 64
            && digest.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

/// A file of this working tree that the commit does not have, where that may be the reason: git ignores it, and a build takes it.
fn beside(
    here: &Workspace,
    at: &Workspace,
    runs: &ReleaseManifest,
    differ: &BTreeMap<String, Vec<String>>,
) -> Result<Option<String>> {
    if commit::read_commit(&here.lab.root)?.id.as_deref() != Some(&runs.commit) {
        return Ok(None);
    }
    let dirs =
        at.lab.containers.keys().filter(|name| differ.contains_key(*name)).map(|name| format!("containers/{name}"));
    let env = at.lab.environments.keys().filter(|_| differ.contains_key("env")).map(|name| format!("env/{name}"));
    for dir in dirs.chain(env) {
        let there = Context::read(&at.lab.root.join(&dir))?;
        let there: BTreeSet<&str> = there.inputs().map(|(name, ..)| name).collect();
        let mine = Context::read(&here.lab.root.join(&dir))?;
        if let Some((name, ..)) = mine.inputs().find(|(name, ..)| !there.contains(name)) {
            return Ok(Some(format!("{dir}/{name}")));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
