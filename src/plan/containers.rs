//! Second half of `up`: what it takes until every container of an environment is up to date.

use std::collections::{BTreeMap, BTreeSet};

use lap_base::words::bytes;

use super::{Action, Made, Plan, order::topological};
use crate::{
    config::{
        KEYS,
        model::{Container, Rootfs},
    },
    release::{desired_state::DesiredState, manifest::ReleaseManifest},
    wire::{
        labels::{LABEL_SECRETS, LABEL_SPEC},
        paths::is_pushed_by_lap,
        protocol::{ContainerFact, Health, ImageFact, NodeFacts},
    },
};

/// The container that must run before anything can be pulled.
pub const REGISTRY: &str = "registry";
/// The container through which a push is heard: replaced last, so that its link lasts as long as it can.
pub const GIT: &str = "git";

/// What should be on the node beside containers, already worked out.
#[derive(Clone, Debug, Default)]
pub struct Installed {
    /// `<place>/<path>` → sha256 of files that must be there.
    pub files: BTreeMap<String, String>,
    /// Containers whose certificate must be issued (anew), each with the reason.
    pub certificates: BTreeMap<String, String>,
}

/// A node that makes images for another one.
#[derive(Clone, Copy)]
pub struct BuilderFacts<'a> {
    pub node: &'a str,
    pub facts: &'a NodeFacts,
}

/// Everything a plan of containers is made from.
pub struct PlanInputs<'a> {
    pub desired: &'a DesiredState,
    pub node: &'a NodeFacts,
    /// Who makes the images; `None`: the node itself.
    pub builder: Option<BuilderFacts<'a>>,
    pub installed: &'a Installed,
    /// Root file systems that are not cached.
    pub missing_rootfs: &'a BTreeMap<String, Rootfs>,
    /// Containers that are replaced in any case (`lap restart`).
    pub again: &'a BTreeSet<String>,
    /// Only these (and what they depend on); empty: all.
    pub only: &'a BTreeSet<String>,
    /// Whether images may be built here (an environment that runs a release only pulls).
    pub build: bool,
    /// `false`: images only.
    pub start: bool,
}

/// Hash over the secrets of one container as they are on the node, for the label. What it takes over while it runs is
/// left out.
pub fn secrets_hash(installed: &BTreeMap<String, String>, container: &str) -> String {
    use sha2::{Digest, Sha256};
    let prefix = format!("secrets/{container}/");
    let mut hash = Sha256::new();
    let live = format!("{prefix}{KEYS}");
    let below = installed.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
    for (path, file) in below.filter(|(path, _)| **path != live) {
        hash.update(path);
        hash.update(file);
    }
    hex::encode(&hash.finalize()[..16])
}

/// For how many seconds a container that starts is waited for.
pub fn await_seconds(container: &Container) -> u64 {
    container
        .healthcheck
        .as_ref()
        .map_or(10, |check| (check.start_period + (check.interval + check.timeout) * check.retries).as_secs().max(60))
}

/// Plans the containers of an environment's master.
pub fn up(environment: &str, inputs: &PlanInputs<'_>) -> Plan {
    let targets = targets(inputs.desired, inputs.only);
    let wanted = inputs.desired.needs(targets.iter().map(String::as_str));
    let mut planner = Planner {
        inputs,
        wanted: wanted.into_iter().map(str::to_owned).collect(),
        targets,
        plan: Plan::new(environment),
        facts: inputs.node.containers.iter().map(|fact| (fact.name.as_str(), fact)).collect(),
        images: by_build(inputs.node),
        ready: Vec::new(),
        built: Made::new(),
        pushed: Made::new(),
        healthy: Made::new(),
        secrets: Made::new(),
        fetched: BTreeSet::new(),
    };
    if !inputs.start {
        planner.images();
        return planner.plan;
    }
    planner.install();
    planner.images();
    planner.containers();
    planner.push_images();
    planner.strangers();
    planner.record();
    planner.plan
}

struct Planner<'a> {
    inputs: &'a PlanInputs<'a>,
    targets: BTreeSet<String>,
    /// The containers whose images these need.
    wanted: BTreeSet<String>,
    plan: Plan,
    facts: BTreeMap<&'a str, &'a ContainerFact>,
    images: BTreeMap<&'a str, &'a ImageFact>,
    /// Steps every container waits for.
    ready: Vec<usize>,
    built: Made,
    pushed: Made,
    healthy: Made,
    secrets: Made,
    /// Whose images were looked for.
    fetched: BTreeSet<String>,
}

impl Planner<'_> {
    fn install(&mut self) {
        let PlanInputs { desired, node, installed, .. } = self.inputs;
        // Why what lies below `prefix` must be installed.
        let why = |prefix: &str, missing: &'static str, changed: &'static str| -> Option<&'static str> {
            let below = |(path, _): &(&String, &String)| path.starts_with(prefix);
            let mut wished = installed.files.range(prefix.to_owned()..).take_while(below);
            wished.any(|(path, hash)| node.installed.get(path) != Some(hash)).then(|| {
                let there = node.installed.range(prefix.to_owned()..).take_while(below).next().is_some();
                if there { changed } else { missing }
            })
        };
        if let Some(why) = why("ssh/", "not set yet", "the operators changed") {
            self.plan.push(Action::InstallAccess, why, []);
        }
        if let Some(why) = why("trust/", "missing", "they changed") {
            self.ready.push(self.plan.push(Action::InstallTrust, why, []));
        }
        if let Some(why) = why("names/", "there are none", "names or addresses changed") {
            self.ready.push(self.plan.push(Action::InstallNames, why, []));
        }
        if let Some(why) = why("policy/", "there is none", "it changed") {
            self.plan.push(Action::InstallPolicy, why, []);
        }
        if !node.installed.contains_key(&format!("env/{}", desired.env)) {
            let action = Action::InstallEnvironment { digest: desired.env.clone() };
            let there = node.installed.keys().any(|path| path.starts_with("env/"));
            let why = if there { "they changed" } else { "missing" };
            self.ready.push(self.plan.push(action, why, []));
        }
        if !desired.checks.is_empty() && !node.installed.contains_key(&format!("checks/{}", desired.checks)) {
            let action = Action::InstallChecks { digest: desired.checks.clone() };
            let there = node.installed.keys().any(|path| path.starts_with("checks/"));
            self.plan.push(action, if there { "they changed" } else { "missing" }, []);
        }
        for container in self.inputs.desired.running().filter(|c| self.targets.contains(&c.name)) {
            let name = &container.name;
            let certificate = installed.certificates.get(name);
            // A place is replaced as a whole, and a certificate has a new key each time: then it is no small thing.
            let keys = format!("secrets/{name}/{KEYS}");
            if certificate.is_none() && !container.secrets.contains("tls.crt") && only_changed(installed, node, &keys) {
                let action = Action::InstallKeys { container: name.clone() };
                let why = if node.installed.contains_key(&keys) { "they changed" } else { "missing" };
                self.ready.push(self.plan.push(action, why, []));
                continue;
            }
            let changed = || why(&format!("secrets/{name}/"), "missing", "they changed").map(str::to_owned);
            let Some(why) = certificate.cloned().or_else(changed) else { continue };
            let action = Action::InstallSecrets { container: name.clone(), certificate: certificate.is_some() };
            let step = self.plan.push(action, why, []);
            self.secrets.insert(name.clone(), step);
        }
    }

    /// Builds what is not there, in dependency order; or has it built, and brings it.
    fn images(&mut self) {
        if !self.inputs.build {
            return;
        }
        let desired = self.inputs.desired;
        let missing = missing(desired, &self.wanted, &self.images);
        let Some(builder) = self.inputs.builder else { return self.build(&missing, None) };
        if missing.is_empty() {
            return;
        }
        let there = by_build(builder.facts);
        self.build(&self::missing(desired, &missing, &there), Some(builder));
        // All at once: layers that several stand on are sent once.
        let after: Vec<usize> = self.built.values().copied().collect();
        let why = if missing.len() == 1 { "it is not on the node" } else { "they are not on the node" };
        let action = Action::Bring { containers: missing.iter().cloned().collect(), from: builder.node.to_owned() };
        let step = self.plan.push(action, why, after);
        self.built = missing.into_iter().map(|name| (name, step)).collect();
    }

    fn build(&mut self, missing: &BTreeSet<String>, on: Option<BuilderFacts<'_>>) {
        let desired = self.inputs.desired;
        let facts = on.map_or(self.inputs.node, |on| on.facts);
        for name in in_order(desired) {
            if !missing.contains(name) {
                continue;
            }
            let image = &desired.images[name];
            let mut after: Vec<usize> = image.parents.iter().filter_map(|p| self.built.get(p)).copied().collect();
            if let Some(rootfs) = self.inputs.missing_rootfs.get(name) {
                let action = Action::MakeRootfs { of: name.to_owned(), rootfs: rootfs.clone() };
                after.push(self.plan.push(action, "not in the cache", []));
            }
            let why = if image.parents.iter().any(|parent| self.built.contains_key(parent)) {
                format!("`{}` is built", image.parents.join("`, `"))
            } else if was_built(facts, name) {
                "its files changed".into()
            } else {
                "there is no image of it".into()
            };
            let on = on.map(|on| on.node.to_owned());
            let action = Action::Build { container: name.to_owned(), build: image.build.clone(), on };
            let step = self.plan.push(action, why, after);
            self.built.insert(name.to_owned(), step);
        }
    }

    fn containers(&mut self) {
        let desired = self.inputs.desired;
        let depends: BTreeMap<&str, BTreeSet<&str>> =
            desired.running().map(|c| (c.name.as_str(), c.depends_on.iter().map(String::as_str).collect())).collect();
        let mut order = topological(&depends);
        // The registry depends on nothing, and everything may have to be pulled from it.
        let last =
            |name: &str| name == GIT && self.facts.contains_key(name) && !depends.values().any(|on| on.contains(name));
        order.sort_by_key(|name| (*name != REGISTRY, last(name)));
        order.retain(|name| self.targets.contains(*name));
        for name in order {
            let container = &desired.containers[name];
            match self.reason(container) {
                Some(why) => self.start(container, why),
                // A frozen container becomes healthy only after it goes on.
                None if !self.is_frozen(name)
                    && self.facts.get(name).is_some_and(|fact| fact.health == Health::Starting) =>
                {
                    self.await_healthy(container, "it is starting", []);
                }
                None => {}
            }
        }
        // What nothing is started from: checks run in it.
        let left: Vec<String> = self.wanted.difference(&self.fetched).cloned().collect();
        for name in left {
            self.fetch(&name);
        }
    }

    fn is_frozen(&self, container: &str) -> bool {
        self.inputs.node.quota.is_frozen(container)
    }

    /// Why a container must be started (anew); `None`: it is up to date.
    fn reason(&self, container: &Container) -> Option<String> {
        let name = container.name.as_str();
        let Some(fact) = self.facts.get(name) else { return Some("it does not exist".into()) };
        if self.built.contains_key(name) {
            return Some("its image changed".into());
        }
        if fact.labels.get(LABEL_SPEC) != Some(&self.inputs.desired.spec(container)) {
            return Some("its settings changed".into());
        }
        let secrets = secrets_hash(&self.inputs.node.installed, name);
        if self.secrets.contains_key(name) || fact.labels.get(LABEL_SECRETS) != Some(&secrets) {
            return Some("its secrets changed".into());
        }
        if self.inputs.again.contains(name) {
            return Some("requested".into());
        }
        if fact.state != "running" {
            return Some(format!("it is {}", fact.state));
        }
        // One that is frozen because of its size goes on when there is room, and nothing can ask it in between.
        let frozen = self.is_frozen(name);
        (fact.health == Health::Unhealthy && !frozen).then(|| "it is unhealthy".into())
    }

    fn start(&mut self, container: &Container, why: String) {
        let name = &container.name;
        let mut after = self.ready.clone();
        after.extend(self.secrets.get(name));
        after.extend(self.built.get(name));
        after.extend(container.depends_on.iter().filter_map(|on| self.healthy.get(on)));
        after.extend(self.fetch(name));
        if name == GIT && self.facts.contains_key(GIT) {
            after.extend(self.healthy.values());
        }
        let action = Action::Run { container: name.clone(), replace: self.facts.contains_key(name.as_str()) };
        let run = self.plan.push(action, why, after);
        self.await_healthy(container, "it starts", [run]);
    }

    /// A release's image that is not on the node comes from its registry, the registry's own from its file.
    fn fetch(&mut self, name: &str) -> Option<usize> {
        self.fetched.insert(name.to_owned());
        let image = self.inputs.desired.images.get(name)?;
        if self.inputs.build || self.images.contains_key(image.build.as_str()) {
            return None;
        }
        if name == REGISTRY {
            let action = Action::LoadImage { container: name.to_owned() };
            return Some(self.plan.push(action, "it is not on the node", []));
        }
        let reference = image.reference.clone()?;
        let action = Action::Pull { container: name.to_owned(), reference };
        let after: Vec<usize> = self.healthy.get(REGISTRY).copied().into_iter().collect();
        Some(self.plan.push(action, "it is not on the node", after))
    }

    fn await_healthy(&mut self, container: &Container, why: &str, after: impl IntoIterator<Item = usize>) {
        let seconds = await_seconds(container);
        let action = Action::AwaitHealthy { container: container.name.clone(), seconds };
        let step = self.plan.push(action, why, after);
        self.healthy.insert(container.name.clone(), step);
    }

    /// Every image goes into the node's own registry, parents first: so their layers are sent once.
    fn push_images(&mut self) {
        let desired = self.inputs.desired;
        if !self.inputs.build || !desired.containers.contains_key(REGISTRY) || !self.targets.contains(REGISTRY) {
            return;
        }
        for name in in_order(desired) {
            let image = &desired.images[name];
            let fact = self.images.get(image.build.as_str());
            let pushed = fact.is_some_and(|fact| fact.digests.iter().any(|digest| is_pushed_by_lap(digest)));
            // An image that is neither there nor being built is not needed.
            if pushed || (fact.is_none() && !self.built.contains_key(name)) {
                continue;
            }
            let mut after: Vec<usize> =
                self.built.get(name).into_iter().chain(self.healthy.get(REGISTRY)).copied().collect();
            after.extend(image.parents.iter().filter_map(|parent| self.pushed.get(parent)));
            let action = Action::Push { container: name.to_owned(), commit: desired.commit.clone() };
            let step = self.plan.push(action, "it is not in the registry", after);
            self.pushed.insert(name.to_owned(), step);
        }
        let saved = self.inputs.node.installed.contains_key(&format!("images/{REGISTRY}.tar"));
        if !saved || self.built.contains_key(REGISTRY) {
            let after: Vec<usize> = self.built.get(REGISTRY).copied().into_iter().collect();
            let why = if saved { "its image changed" } else { "missing" };
            self.plan.push(Action::SaveImage { container: REGISTRY.into() }, why, after);
        }
    }

    /// Containers that are no longer desired.
    fn strangers(&mut self) {
        if !self.inputs.only.is_empty() {
            return;
        }
        let desired = self.inputs.desired;
        for fact in &self.inputs.node.containers {
            if desired.containers.get(&fact.name).is_none_or(|container| container.scale == 0) {
                self.plan.push(Action::Remove { container: fact.name.clone() }, "no longer in the workspace", []);
            }
        }
    }

    fn record(&mut self) {
        if !self.inputs.only.is_empty() {
            return;
        }
        let desired = self.inputs.desired;
        let (current, unreadable) = self.inputs.node.recorded.clone().value_and_complaint();
        // What is started as it was recorded is recorded, unless what ran before is put back.
        if !self.inputs.build && current.is_none() {
            return;
        }
        if self.pushed.is_empty() && current.as_ref().is_some_and(|current| desired.is(current)) {
            return;
        }
        let why = match current {
            None if unreadable.is_some() => "the record cannot be read".to_owned(),
            None => "nothing is recorded".to_owned(),
            Some(current) => {
                let why = if current.commit == desired.commit { "it changed" } else { "another commit" };
                resized(desired, &current).unwrap_or_else(|| why.to_owned())
            }
        };
        let after: Vec<usize> = (0..self.plan.steps.len()).collect();
        self.plan.push(Action::Record { commit: desired.commit.clone() }, why, after);
    }
}

/// What is recorded anew where a container has another size of its data, which needs no restart.
fn resized(desired: &DesiredState, current: &ReleaseManifest) -> Option<String> {
    let size = |container: &Container| container.data.map_or_else(|| "none".to_owned(), |data| bytes(data.size));
    let change = |(name, container): (&String, &Container)| {
        let before = current.containers.get(name)?;
        let (was, is) = (size(before), size(container));
        (before.data != container.data).then(|| format!("the data size of `{name}` is {is} instead of {was}"))
    };
    let all: Vec<String> = desired.containers.iter().filter_map(change).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// Whether of everything in its directory this one file is not as it should be on the node.
fn only_changed(installed: &Installed, node: &NodeFacts, file: &str) -> bool {
    let prefix = &file[..=file.rfind('/').unwrap_or(0)];
    let differs = |(path, hash): &(&String, &String)| node.installed.get(*path) != Some(*hash);
    let below = installed.files.range(prefix.to_owned()..).take_while(|(path, _)| path.starts_with(prefix));
    let mut changed = below.filter(differs).map(|(path, _)| path.as_str());
    changed.next() == Some(file) && changed.next().is_none()
}

/// Whether this container was built there before, or runs there, although of other files.
fn was_built(facts: &NodeFacts, name: &str) -> bool {
    let tagged = format!("infra/{name}:");
    facts.containers.iter().any(|fact| fact.name == name)
        || facts.images.iter().any(|image| image.tags.iter().any(|tag| tag.starts_with(&tagged)))
}

/// A node's images by what they were built from.
fn by_build(facts: &NodeFacts) -> BTreeMap<&str, &ImageFact> {
    facts.images.iter().filter_map(|image| Some((image.build.as_deref()?, image))).collect()
}

/// All images, each after those it stands on.
fn in_order(desired: &DesiredState) -> Vec<&str> {
    let depends: BTreeMap<&str, BTreeSet<&str>> = desired
        .images
        .iter()
        .map(|(name, image)| (name.as_str(), image.parents.iter().map(String::as_str).collect()))
        .collect();
    topological(&depends)
}

/// Those of `wanted` that are not `there`, and what they stand on as far as it is not there either: a parent is needed only if
/// something that stands on it must be built.
fn missing(desired: &DesiredState, wanted: &BTreeSet<String>, there: &BTreeMap<&str, &ImageFact>) -> BTreeSet<String> {
    let mut parents: BTreeSet<&str> = BTreeSet::new();
    let mut out = BTreeSet::new();
    for name in in_order(desired).into_iter().rev() {
        let image = &desired.images[name];
        if !there.contains_key(image.build.as_str()) && (wanted.contains(name) || parents.contains(name)) {
            parents.extend(image.parents.iter().map(String::as_str));
            out.insert(name.to_owned());
        }
    }
    out
}

/// The containers a plan is about: all that run, or the named ones with what they depend on.
fn targets(desired: &DesiredState, only: &BTreeSet<String>) -> BTreeSet<String> {
    // By its name also one that is only built: `lap image build test/base`.
    let meant = |c: &&Container| if only.is_empty() { c.scale > 0 } else { only.contains(&c.name) };
    let mut left: Vec<&str> = desired.containers.values().filter(meant).map(|c| c.name.as_str()).collect();
    let mut out = BTreeSet::new();
    while let Some(name) = left.pop() {
        if let Some(container) = desired.containers.get(name).filter(|_| out.insert(name.to_owned())) {
            left.extend(container.depends_on.iter().map(String::as_str));
        }
    }
    out
}
