//! What differs between what an environment runs and what it is to run: the containers a promotion or a roll-back has to touch.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{containers::await_seconds, order::topological};
use crate::{
    release::{desired_state::DesiredState, manifest::ReleaseManifest},
    wire::{
        labels::LABEL_SPEC,
        protocol::{Health, NodeFacts},
    },
};

/// What is done with one container, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerChange {
    pub container: String,
    pub act: ContainerAction,
    /// `its image`
    pub why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerAction {
    Add,
    Replace,
    Remove,
}

/// All of them: what is made first, in the order in which it is started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub list: Vec<ContainerChange>,
    /// Runs on untouched.
    pub same: Vec<String>,
}

impl fmt::Display for ContainerChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let act = match self.act {
            ContainerAction::Add => "start",
            ContainerAction::Replace => "replace",
            ContainerAction::Remove => "remove",
        };
        write!(f, "{act} `{}`", self.container)
    }
}

impl Changes {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The containers that are made, each with those among them that it waits for.
    pub fn starts<'a>(&'a self, desired: &'a DesiredState) -> impl Iterator<Item = (&'a str, Vec<String>, u64)> {
        let made = |name: &str| {
            self.list.iter().any(|change| change.container == name && change.act != ContainerAction::Remove)
        };
        let starts = self.list.iter().filter(|change| change.act != ContainerAction::Remove);
        starts.filter_map(move |change| {
            let container = desired.containers.get(&change.container)?;
            let after = container.depends_on.iter().filter(|on| made(on)).cloned().collect();
            Some((change.container.as_str(), after, await_seconds(container)))
        })
    }

    /// The containers that go, or make room for others.
    pub fn stops(&self) -> impl Iterator<Item = &str> {
        self.list.iter().filter(|change| change.act != ContainerAction::Add).map(|change| change.container.as_str())
    }
}

/// Compares. `old` is what is recorded, for the reasons.
pub fn changes(target: &DesiredState, node: &NodeFacts, old: Option<&ReleaseManifest>) -> Changes {
    let facts: BTreeMap<&str, _> = node.containers.iter().map(|fact| (fact.name.as_str(), fact)).collect();
    let depends: BTreeMap<&str, BTreeSet<&str>> =
        target.running().map(|c| (c.name.as_str(), c.depends_on.iter().map(String::as_str).collect())).collect();
    let mut out = Changes::default();
    for name in topological(&depends) {
        let container = &target.containers[name];
        let Some(fact) = facts.get(name) else {
            out.list.push(ContainerChange {
                container: name.to_owned(),
                act: ContainerAction::Add,
                why: "it is new".into(),
            });
            continue;
        };
        let why = if fact.labels.get(LABEL_SPEC) != Some(&target.spec(container)) {
            why(target, old, name)
        } else if fact.state != "running" {
            format!("it is {}", fact.state)
        } else if fact.health == Health::Unhealthy && !node.quota.is_frozen(name) {
            "it is unhealthy".into()
        } else {
            out.same.push(name.to_owned());
            continue;
        };
        out.list.push(ContainerChange { container: name.to_owned(), act: ContainerAction::Replace, why });
    }
    let gone = facts.keys().filter(|name| target.containers.get(**name).is_none_or(|c| c.scale == 0));
    out.list.extend(gone.map(|name| ContainerChange {
        container: (*name).to_owned(),
        act: ContainerAction::Remove,
        why: "it is not in the release".into(),
    }));
    out
}

fn why(target: &DesiredState, old: Option<&ReleaseManifest>, name: &str) -> String {
    let Some(old) = old else { return "there is no record of what ran before".into() };
    let mut why = Vec::new();
    if old.images.get(name).map(|image| &image.build) != target.images.get(name).map(|image| &image.build) {
        why.push("its image");
    }
    if old.containers.get(name) != target.containers.get(name) {
        why.push("its settings");
    }
    if old.env != target.env {
        why.push("the environment's files");
    }
    match why.as_slice() {
        [] => "it does not run as recorded".into(),
        [one] => format!("{one} changed"),
        [all @ .., last] => format!("{} and {last} changed", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::model::Container,
        release::{
            desired_state::DesiredState,
            manifest::{ImageSpec, ReleaseManifest},
        },
        wire::protocol::{ContainerFact, OverFact},
    };

    fn desired(images: &[(&str, &str, &[&str])]) -> DesiredState {
        let mut desired = DesiredState::nothing();
        for (name, build, on) in images {
            let mut container = Container::new(*name);
            container.depends_on = on.iter().map(|on| (*on).to_owned()).collect();
            desired.containers.insert((*name).to_owned(), container);
            let image = ImageSpec { build: (*build).to_owned(), parents: Vec::new(), reference: None };
            desired.images.insert((*name).to_owned(), image);
        }
        desired
    }

    fn runs(desired: &DesiredState) -> NodeFacts {
        let fact = |container: &Container| ContainerFact {
            name: container.name.clone(),
            id: String::new(),
            image: String::new(),
            labels: [(LABEL_SPEC.to_owned(), desired.spec(container))].into(),
            state: "running".into(),
            health: Health::Healthy,
            created: 0,
            status: String::new(),
        };
        NodeFacts { containers: desired.running().map(fact).collect(), ..NodeFacts::default() }
    }

    fn current(desired: &DesiredState) -> ReleaseManifest {
        let DesiredState { commit, containers, images, env, checks, release } = desired.clone();
        ReleaseManifest { commit, release, env, checks, containers, images, by: String::new(), at: 0 }
    }

    #[test]
    fn only_what_differs_is_touched() {
        let old = desired(&[("db", "1", &[]), ("web", "1", &["db"]), ("gone", "1", &[])]);
        let new = desired(&[("db", "2", &[]), ("web", "1", &["db"]), ("new", "1", &["db"])]);
        let node = runs(&old);
        assert!(changes(&old, &node, Some(&current(&old))).is_empty());
        let found = changes(&new, &node, Some(&current(&old)));
        let told: Vec<String> = found.list.iter().map(|change| format!("{change}: {}", change.why)).collect();
        assert_eq!(
            told,
            ["replace `db`: its image changed", "start `new`: it is new", "remove `gone`: it is not in the release"]
        );
        assert_eq!(found.same, ["web"]);
        assert_eq!(found.stops().collect::<Vec<_>>(), ["db", "gone"]);
        let starts: Vec<_> = found.starts(&new).map(|(name, after, _)| (name.to_owned(), after)).collect();
        assert_eq!(starts, [("db".to_owned(), vec![]), ("new".to_owned(), vec!["db".to_owned()])]);
    }

    #[test]
    fn a_frozen_container_that_does_not_change_is_not_replaced() {
        let same = desired(&[("db", "1", &[])]);
        let mut node = runs(&same);
        node.containers[0].health = Health::Unhealthy;
        assert_eq!(changes(&same, &node, None).list[0].why, "it is unhealthy");
        let over = OverFact { id: "1".into(), bytes: 9, size: 5, since: 1, frozen: true, unmeasured: false };
        node.quota.over.insert("db".into(), over);
        assert_eq!(changes(&same, &node, None).same, ["db"]);
        node.containers[0].state = "exited".into();
        assert_eq!(changes(&same, &node, None).list[0].why, "it is exited");
    }

    #[test]
    fn other_files_of_the_environment_are_another_wish_for_all() {
        let old = desired(&[("db", "1", &[])]);
        let mut new = old.clone();
        new.env = "other".into();
        let found = changes(&new, &runs(&old), Some(&current(&old)));
        assert_eq!(found.list[0].why, "the environment's files changed");
        let mut down = runs(&old);
        down.containers[0].state = "exited".into();
        assert_eq!(changes(&old, &down, None).list[0].why, "it is exited");
    }
}
