//! What an environment should run: from the working tree, or from its release.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::{
    binds,
    config::model::Container,
    release::manifest::{ImageSpec, ReleaseManifest},
};

/// What an environment should run.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredState {
    /// The commit images are named by: `<id>`, `<id>-dirty-<hash>` or `none-<hash>`.
    pub commit: String,
    /// By name, build-only ones too.
    pub containers: BTreeMap<String, Container>,
    pub images: BTreeMap<String, ImageSpec>,
    /// Digest of `env/<name>`.
    pub env: String,
    /// Digest of all containers' `checks/`; empty: there are none.
    pub checks: String,
    /// The number of the release; `None` in an environment that runs the working tree.
    pub release: Option<u64>,
}

impl From<ReleaseManifest> for DesiredState {
    fn from(current: ReleaseManifest) -> Self {
        let ReleaseManifest { commit, release, env, checks, containers, images, .. } = current;
        Self { commit, containers, images, env, checks, release }
    }
}

impl DesiredState {
    /// Hash of everything that decides how this container runs; kept as its label. Containers whose label is equal are
    /// left alone.
    pub fn spec(&self, container: &Container) -> String {
        let is_mounted = container.volumes.iter().any(|volume| binds::below_data(&volume.source).is_some());
        // One that an earlier lap made has the source itself, and Docker follows links in it: it is made anew once.
        self.hash(container, if is_mounted { binds::DIRECTORY } else { "" })
    }

    /// Whether a container with this label runs what is wished, also if an earlier lap made it, so that it will be made anew.
    pub fn is_label_of(&self, label: &str, container: &Container) -> bool {
        label == self.spec(container) || label == self.hash(container, "")
    }

    fn hash(&self, container: &Container, how: &str) -> String {
        let build = self.images.get(&container.name).map(|image| &image.build);
        // Hooks, checks and the limit of the data are read when they are needed: no reason to start it anew.
        let container = Container { data: None, snapshot: None, checks: None, ..container.clone() };
        let mut text = serde_json::to_string(&(container, build, &self.env)).unwrap_or_default();
        text.push_str(how);
        hex::encode(&Sha256::digest(text.as_bytes())[..16])
    }

    /// Whether this is what was recorded: the commit, every container, every image.
    pub fn is(&self, current: &ReleaseManifest) -> bool {
        let builds = |images: &BTreeMap<String, ImageSpec>| -> Vec<(String, String)> {
            images.iter().map(|(name, image)| (name.clone(), image.build.clone())).collect()
        };
        self.commit == current.commit
            && self.env == current.env
            && self.checks == current.checks
            && self.containers == current.containers
            && self.release == current.release
            && builds(&self.images) == builds(&current.images)
    }

    /// A desired state with nothing in it, for plans that only take away.
    pub fn nothing() -> Self {
        Self {
            commit: String::new(),
            containers: BTreeMap::new(),
            images: BTreeMap::new(),
            env: String::new(),
            checks: String::new(),
            release: None,
        }
    }

    /// The containers that run (scale 1), by name.
    pub fn running(&self) -> impl Iterator<Item = &Container> {
        self.containers.values().filter(|container| container.scale > 0)
    }
}
