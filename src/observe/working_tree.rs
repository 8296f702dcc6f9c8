//! What the working tree asks for: every image's identity, and the environment's files.

use std::collections::{BTreeMap, BTreeSet};

use lap_base::error::{Kind, OrError, Result};
use sha2::{Digest, Sha256};

use super::{commit, context::Context};
use crate::{
    config::{
        dockerfile,
        model::{Container, Lab},
    },
    drivers::rootfs,
    plan::order::topological,
    release::{desired_state::DesiredState, manifest::ImageSpec},
};

/// Raised when the way of building changes what comes out.
const GENERATION: u32 = 1;

/// The working tree's desired state, and what it was made from.
pub struct WorkingTree {
    pub desired: DesiredState,
    pub contexts: BTreeMap<String, Context>,
    /// `env/<name>`
    pub environment: Context,
    /// Every container's `checks/`, by container.
    pub checks: Context,
    /// Images from outside that Dockerfiles stand on, by container.
    pub bases: BTreeMap<String, BTreeSet<String>>,
    /// Its files are not those of a commit.
    pub dirty: bool,
}

/// Reads everything that decides what `environment` runs. `base_id` gives the id of an image from outside that is on
/// the node: a newer one of the same name is a change.
///
/// # Errors
/// A file cannot be read.
pub fn tree(lab: &Lab, environment: &str, base_id: impl Fn(&str) -> Option<String>) -> Result<WorkingTree> {
    let mut contexts = BTreeMap::new();
    let mut bases: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, container) in &lab.containers {
        let dir = lab.root.join("containers").join(name);
        contexts.insert(name.clone(), Context::read(&dir)?);
        bases.insert(name.clone(), outside(container, &dir)?);
    }
    let depends: BTreeMap<&str, BTreeSet<&str>> = lab
        .containers
        .iter()
        .map(|(name, c)| (name.as_str(), c.build.parents.iter().map(String::as_str).collect()))
        .collect();
    let mut images: BTreeMap<String, ImageSpec> = BTreeMap::new();
    for name in topological(&depends) {
        let container = &lab.containers[name];
        let parents: Vec<String> = container.build.parents.iter().cloned().collect();
        let parent_builds: Vec<&str> =
            parents.iter().filter_map(|parent| images.get(parent)).map(|image| image.build.as_str()).collect();
        let base_ids: Vec<(&String, Option<String>)> = bases[name].iter().map(|base| (base, base_id(base))).collect();
        let inputs = (
            GENERATION,
            contexts[name].digest(),
            &container.build.args,
            container.build.with_lap.then_some(crate::BUILD),
            container.build.rootfs.as_ref().map(rootfs::identity),
            parent_builds,
            base_ids,
        );
        let text = serde_json::to_string(&inputs).or_error(Kind::Other, || "cannot hash".into())?;
        let build = hex::encode(&Sha256::digest(text.as_bytes())[..16]);
        images.insert(name.to_owned(), ImageSpec { build, parents, reference: None });
    }
    let files = Context::read(&lab.root.join("env").join(environment))?;
    let env = files.digest();
    let checks = Context::checks(&lab.root.join("containers"), lab.containers.keys())?;
    let commit = commit::read_commit(&lab.root)?;
    let all =
        serde_json::to_string(&(&images, &env, &lab.containers)).or_error(Kind::Other, || "cannot hash".into())?;
    let desired = DesiredState {
        commit: commit.name(&hex::encode(Sha256::digest(all.as_bytes()))),
        containers: lab.containers.clone(),
        images,
        env,
        checks: if checks.is_empty() { String::new() } else { checks.digest() },
        release: None,
    };
    Ok(WorkingTree { desired, contexts, environment: files, checks, bases, dirty: commit.dirty })
}

/// Images a Dockerfile takes that are not of this workspace.
fn outside(container: &Container, dir: &std::path::Path) -> Result<BTreeSet<String>> {
    let path = dir.join("Dockerfile");
    let text = std::fs::read_to_string(&path).or_error(Kind::Config, || format!("cannot read `{}`", path.display()))?;
    let parsed = dockerfile::parse(&text, &container.build.args);
    Ok(parsed.foreign().map(|base| base.image.clone()).collect())
}
