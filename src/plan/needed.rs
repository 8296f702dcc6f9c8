//! Which images a node must hold for what it runs: those of its containers, and those that their checks run in. The second kind may
//! belong to a container that never runs (`scale = 0`), so that no start brings it.
//!
//! Hooks and `scrub` run in the image of their own container.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    release::{desired_state::DesiredState, manifest::ImageSpec},
    wire::protocol::NodeFacts,
};

impl DesiredState {
    /// The containers whose images are needed, so that these containers can run and be checked.
    pub fn needs<'a>(&'a self, containers: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let of = |name: &'a str| {
            let container = self.containers.get(name).filter(|container| container.scale > 0);
            let checks = container.and_then(|container| container.checks.as_ref()?.image.as_deref());
            std::iter::once(name).chain(checks)
        };
        containers.into_iter().flat_map(of).collect()
    }

    /// The same, for everything that runs.
    pub fn needed(&self) -> BTreeSet<&str> {
        self.needs(self.running().map(|container| container.name.as_str()))
    }

    /// The needed images that the node's Docker does not have.
    pub fn lacking(&self, node: &NodeFacts) -> BTreeMap<&str, &ImageSpec> {
        let there = |image: &ImageSpec| node.images.iter().any(|fact| fact.build.as_deref() == Some(&image.build));
        let needed = self.needed().into_iter().filter_map(|name| Some((name, self.images.get(name)?)));
        needed.filter(|(_, image)| !there(image)).collect()
    }

    /// The needed images that cannot be had without building: the node's Docker does not have them, and no registry is recorded that
    /// does.
    pub fn removed_containers(&self, node: &NodeFacts) -> Vec<&str> {
        let unknown = self.needed().into_iter().filter(|name| !self.images.contains_key(*name));
        let lacking = self.lacking(node).into_iter().filter(|(_, image)| image.reference.is_none());
        unknown.chain(lacking.map(|(name, _)| name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::model::{Checks, Container},
        release::{desired_state::DesiredState, manifest::ImageSpec},
        wire::protocol::ImageFact,
    };

    /// `dns` runs and is checked in `base`, which does not run; `web` is only built.
    fn desired() -> DesiredState {
        let mut desired = DesiredState::nothing();
        for name in ["base", "dns", "web"] {
            let mut container = Container::new(name);
            container.scale = u32::from(name == "dns");
            if name != "base" {
                container.checks = Some(Checks { image: Some("base".into()), ..Checks::default() });
            }
            desired.containers.insert(name.into(), container);
            let image = ImageSpec { build: format!("build-{name}"), parents: Vec::new(), reference: None };
            desired.images.insert(name.into(), image);
        }
        desired
    }

    fn node(names: &[&str]) -> NodeFacts {
        let fact = |name: &&str| ImageFact {
            id: String::new(),
            tags: Vec::new(),
            digests: Vec::new(),
            build: Some(format!("build-{name}")),
        };
        NodeFacts { images: names.iter().map(fact).collect(), ..NodeFacts::default() }
    }

    #[test]
    fn checks_need_their_image() {
        let mut desired = desired();
        assert_eq!(desired.needed(), ["base", "dns"].into());
        assert!(desired.removed_containers(&node(&["base", "dns"])).is_empty());
        assert_eq!(desired.removed_containers(&node(&["dns", "web"])), ["base"]);
        assert_eq!(desired.lacking(&node(&["dns"])).into_keys().collect::<Vec<_>>(), ["base"]);
        for image in desired.images.values_mut() {
            image.reference = Some("localhost:5000/infra/c1/any@sha256:0".into());
        }
        assert!(desired.removed_containers(&node(&[])).is_empty(), "the registry has them");
        desired.images.remove("base");
        assert_eq!(desired.removed_containers(&node(&["dns"])), ["base"], "what no record names cannot be had");
        // What is only built has no checks to run.
        desired.containers.remove("dns");
        assert!(desired.needed().is_empty());
        assert_eq!(desired.needs(["web"]), ["web"].into());
    }
}
