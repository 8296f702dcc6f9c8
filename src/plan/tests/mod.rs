//! Plans as a person would read them: desired state and facts by table, the steps as text.

mod containers;
mod images;
mod nodes;
mod scopes;

use std::collections::{BTreeMap, BTreeSet};

use lap_base::state::State;

use super::{
    Plan,
    containers::{BuilderFacts, Installed, PlanInputs, REGISTRY, secrets_hash, up},
};
use crate::{
    config::model::{Checks, Container, Rootfs},
    release::{
        desired_state::DesiredState,
        manifest::{ImageSpec, ReleaseManifest},
    },
    wire::{
        labels::{LABEL_SECRETS, LABEL_SPEC},
        protocol::{ContainerFact, Health, ImageFact, NodeFacts},
    },
};

/// A step a line: its number, what, why, and after which others.
fn text(plan: &Plan) -> String {
    let mut out = String::new();
    for (number, step) in plan.steps.iter().enumerate() {
        let after: Vec<String> = step.after.iter().map(ToString::to_string).collect();
        let after = if after.is_empty() { String::new() } else { format!(" after {}", after.join(" ")) };
        out += &format!("{number} {} ({}){after}\n", step.action, step.why);
    }
    out
}

/// What `lap up` of an environment is told. A field that a test changes is what the test is about.
struct World {
    desired: DesiredState,
    node: NodeFacts,
    installed: Installed,
    missing_rootfs: BTreeMap<String, Rootfs>,
    again: BTreeSet<String>,
    only: BTreeSet<String>,
    build: bool,
    start: bool,
    builder: Option<NodeFacts>,
}

impl World {
    /// Four containers on an empty node: all stand on `base`, which does not run; `git` depends on `dns`.
    fn new() -> Self {
        let mut base = Container::new("base");
        base.scale = 0;
        let mut git = Container::new("git");
        git.depends_on.insert("dns".into());
        let containers = [base, git, Container::new("dns"), Container::new(REGISTRY)];
        let image = |name: &str| ImageSpec {
            build: format!("build-{name}"),
            parents: if name == "base" { Vec::new() } else { vec!["base".into()] },
            reference: None,
        };
        let files = ["ssh/authorized_keys", "trust/root.crt", "names/names.json", "secrets/git/token"];
        Self {
            desired: DesiredState {
                commit: "c1".into(),
                images: containers.iter().map(|c| (c.name.clone(), image(&c.name))).collect(),
                containers: containers.into_iter().map(|c| (c.name.clone(), c)).collect(),
                env: "e1".into(),
                checks: String::new(),
                release: None,
            },
            node: NodeFacts::default(),
            installed: Installed {
                files: files.iter().map(|path| ((*path).to_owned(), format!("hash of {path}"))).collect(),
                certificates: BTreeMap::new(),
            },
            missing_rootfs: BTreeMap::new(),
            again: BTreeSet::new(),
            only: BTreeSet::new(),
            build: true,
            start: true,
            builder: None,
        }
    }

    /// The same, after an `up` that went well.
    fn settled() -> Self {
        let mut world = Self::new();
        world.node.installed = world.installed.files.clone();
        world.node.installed.insert("env/e1".into(), "x".into());
        world.node.installed.insert("images/registry.tar".into(), "x".into());
        let Self { desired, node, .. } = &mut world;
        node.images = desired.images.iter().map(|(name, image)| image_fact(name, &image.build)).collect();
        node.containers = desired.running().map(|container| runs(desired, &node.installed, container)).collect();
        world.record();
        world
    }

    /// The desired state is what was recorded.
    fn record(&mut self) {
        let DesiredState { commit, containers, images, env, checks, release } = self.desired.clone();
        let (by, at) = ("anna@notebook".into(), 1);
        let current = ReleaseManifest { commit, release, env, checks, containers, images, by, at };
        self.node.recorded = State::Value(current);
    }

    /// As on an environment that runs a release: nothing is built, images are named by digest.
    fn release(mut self) -> Self {
        self.build = false;
        self.desired.release = Some(3);
        for (name, image) in &mut self.desired.images {
            image.reference = Some(format!("localhost:5000/infra/c1/{name}@sha256:0"));
        }
        self.record();
        self
    }

    /// The files of a container changed, and so the images of what stands on it.
    fn changed(mut self, name: &str) -> Self {
        for (other, image) in &mut self.desired.images {
            if other == name || image.parents.iter().any(|parent| parent == name) {
                image.build += "-2";
            }
        }
        self.desired.commit = "c2".into();
        self
    }

    /// The checks of `name` run in the image of `image`, as it is recorded.
    fn checks_in(mut self, name: &str, image: &str) -> Self {
        self.container(name).checks = Some(Checks { image: Some(image.to_owned()), ..Checks::default() });
        self.record();
        self
    }

    fn container(&mut self, name: &str) -> &mut Container {
        self.desired.containers.get_mut(name).unwrap()
    }

    fn fact(&mut self, name: &str) -> &mut ContainerFact {
        self.node.containers.iter_mut().find(|fact| fact.name == name).unwrap()
    }

    fn without_image(mut self, name: &str) -> Self {
        let build = self.desired.images[name].build.clone();
        self.node.images.retain(|image| image.build.as_deref() != Some(&build));
        self
    }

    /// Another node makes the images; these containers' it has.
    fn with_builder(mut self, has: &[&str]) -> Self {
        let images = has.iter().map(|name| image_fact(name, &self.desired.images[*name].build)).collect();
        self.builder = Some(NodeFacts { images, ..NodeFacts::default() });
        self
    }

    fn without_container(mut self, name: &str) -> Self {
        self.node.containers.retain(|fact| fact.name != name);
        self
    }

    fn up(&self) -> Plan {
        up(
            "test",
            &PlanInputs {
                desired: &self.desired,
                node: &self.node,
                builder: self.builder.as_ref().map(|facts| BuilderFacts { node: "maker", facts }),
                installed: &self.installed,
                missing_rootfs: &self.missing_rootfs,
                again: &self.again,
                only: &self.only,
                build: self.build,
                start: self.start,
            },
        )
    }

    /// The plan is exactly this, and it can be carried out.
    #[track_caller]
    fn plans(&self, want: &[&str]) {
        let plan = self.up();
        assert_eq!(text(&plan), want.iter().map(|line| format!("{line}\n")).collect::<String>());
        in_order(&plan);
    }
}

/// Each step waits only for earlier ones: so no plan can wait for itself.
#[track_caller]
fn in_order(plan: &Plan) {
    for (number, step) in plan.steps.iter().enumerate() {
        assert!(step.after.iter().all(|after| *after < number), "step {number} waits for {:?}", step.after);
    }
}

fn image_fact(name: &str, build: &str) -> ImageFact {
    ImageFact {
        id: format!("sha256:{name}"),
        tags: vec![format!("infra/{name}:latest")],
        digests: vec![format!("localhost:5000/infra/c1/{name}@sha256:0")],
        build: Some(build.to_owned()),
    }
}

fn runs(desired: &DesiredState, installed: &BTreeMap<String, String>, container: &Container) -> ContainerFact {
    ContainerFact {
        name: container.name.clone(),
        id: "0".into(),
        image: format!("infra/{}", container.name),
        labels: BTreeMap::from([
            (LABEL_SPEC.to_owned(), desired.spec(container)),
            (LABEL_SECRETS.to_owned(), secrets_hash(installed, &container.name)),
        ]),
        state: "running".into(),
        health: Health::Healthy,
        created: 1,
        status: "Up 3 minutes".into(),
    }
}
