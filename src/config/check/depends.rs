//! `depends_on` names containers that run, and leads nowhere twice.

use std::collections::BTreeMap;

use crate::config::{
    graph,
    lines::element,
    problem::{Ledger, did_you_mean, shown},
    workspace::WorkspaceFiles,
};

pub fn check(workspace: &WorkspaceFiles, ledger: &Ledger) {
    let containers = &workspace.containers;
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, read) in containers {
        let targets = &read.value.lists.depends_on;
        edges.insert(name, targets.iter().map(|(_, target)| target.as_str()).collect());
        let Some(file) = &read.file else { continue };
        for (i, target) in targets {
            let message = match containers.get(target) {
                None => {
                    let guess = did_you_mean(target, containers.keys().map(String::as_str));
                    let help =
                        if guess.is_empty() { ": write the name of a directory in `containers`" } else { &guess };
                    format!("{} is not a container{help}", shown(target))
                }
                Some(other) if other.value.container.scale == 0 => {
                    format!("`{target}` never runs, its `scale` is 0: remove it (FROM is enough to build it first)")
                }
                Some(_) => continue,
            };
            ledger.key(file, element("depends_on", *i), message);
        }
    }
    for cycle in graph::cycles(&edges) {
        let first = &containers[cycle[0]];
        let next = cycle.get(1).unwrap_or(&cycle[0]);
        let index = first.value.lists.depends_on.iter().find(|(_, target)| target == next);
        if let (Some((i, _)), Some(file)) = (index, &first.file) {
            let message = format!("a cycle: {}: remove one of them", graph::drawn(&cycle));
            ledger.key(file, element("depends_on", *i), message);
        }
    }
}
