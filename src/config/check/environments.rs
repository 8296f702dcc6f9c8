//! Environments, and the nodes they are made of.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{
    graph,
    model::Role,
    problem::{Ledger, did_you_mean, shown},
    value::name::SUB_ZONES,
    workspace::WorkspaceFiles,
};

/// The environment that is meant when none is named: what `lap.toml` says, or the only one, or `test`.
pub fn default_environment(written: Option<&str>, known: &BTreeSet<&str>) -> Option<String> {
    let only = known.first().filter(|_| known.len() == 1).copied();
    written.or(only).or(known.get("test").copied()).map(str::to_owned)
}

pub fn check(workspace: &WorkspaceFiles, ledger: &Ledger) {
    let known: BTreeSet<&str> = workspace.environments.keys().map(String::as_str).collect();
    if known.is_empty() {
        ledger.path("env", "no environment: write `env/test/env.toml`, see `lap help env.toml`");
        return;
    }
    for name in SUB_ZONES.into_iter().filter(|name| known.contains(name)) {
        let zone = &workspace.lap.value.dns.dns.zone;
        ledger.path(
            &format!("env/{name}"),
            format!("`{name}.{zone}` is reserved for lap: choose another name for the environment"),
        );
    }
    for name in workspace.containers.keys().filter(|name| known.contains(name.as_str())) {
        let message = format!("`{name}` is also an environment, and an address could mean either: rename one of them");
        ledger.path(&format!("containers/{name}"), message);
    }
    default(workspace, &known, ledger);
    promotion(workspace, &known, ledger);
    nodes(workspace, &known, ledger);
}

fn default(workspace: &WorkspaceFiles, known: &BTreeSet<&str>, ledger: &Ledger) {
    let Some(file) = &workspace.lap.file else { return };
    match workspace.lap.value.default.as_deref() {
        Some(name) if !known.contains(name) => ledger.key(file, "default", unknown(name, known)),
        None if default_environment(None, known).is_none() => {
            ledger.key(file, "default", format!("missing: write one of {}", listed(known)));
        }
        _ => {}
    }
}

fn promotion(workspace: &WorkspaceFiles, known: &BTreeSet<&str>, ledger: &Ledger) {
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, read) in &workspace.environments {
        let from = read.value.promote_from.as_deref();
        edges.insert(name, from.into_iter().collect());
        let (Some(from), Some(file)) = (from, &read.file) else { continue };
        if !known.contains(from) {
            ledger.key(file, "promote_from", unknown(from, known));
        }
    }
    for cycle in graph::cycles(&edges) {
        let Some(file) = &workspace.environments[cycle[0]].file else { continue };
        let message = if cycle.len() == 1 {
            "an environment cannot be promoted from itself: remove it, or name the environment for tests".to_owned()
        } else {
            format!(
                "a cycle: {}: remove `promote_from` from one of them, which then runs the working tree",
                graph::drawn(&cycle)
            )
        };
        ledger.key(file, "promote_from", message);
    }
}

fn nodes(workspace: &WorkspaceFiles, known: &BTreeSet<&str>, ledger: &Ledger) {
    let (mut masters, mut builders) = (BTreeMap::new(), BTreeMap::new());
    // A node that does not say what it is may be the missing master.
    let mut unsure = false;
    for (name, read) in &workspace.nodes {
        let Some(file) = &read.file else {
            unsure = true;
            continue;
        };
        let environment = read.value.environment.as_deref();
        let Some(environment) = environment.filter(|environment| known.contains(environment)) else {
            unsure = true;
            if let Some(environment) = environment {
                ledger.key(file, "environment", unknown(environment, known));
            }
            continue;
        };
        match read.value.role {
            None => unsure = true,
            Some(Role::Master) => {
                if let Some(first) = masters.insert(environment, name) {
                    let message = format!(
                        "`{environment}` has two masters, `{first}` and `{name}`: write `worker` in one of them"
                    );
                    ledger.key(file, "role", message);
                }
            }
            Some(Role::Builder) => {
                if let Some(first) = builders.insert(environment, name) {
                    let message = format!(
                        "`{environment}` has two builders, `{first}` and `{name}`: write `worker` in one of them"
                    );
                    ledger.key(file, "role", message);
                }
            }
            Some(Role::Worker | Role::Data | Role::Backup) => {}
        }
    }
    for (name, read) in &workspace.environments {
        if !unsure && !masters.contains_key(name.as_str()) {
            let message = format!(
                "no master: write a `nodes/<name>/node.toml` with `environment = \"{name}\"`, `role = \"master\"`"
            );
            match &read.file {
                Some(file) => ledger.key(file, "", message),
                None => ledger.path(&format!("env/{name}"), message),
            }
        }
    }
}

fn unknown(name: &str, known: &BTreeSet<&str>) -> String {
    let guess = did_you_mean(name, known.iter().copied());
    let help = if guess.is_empty() { format!(": write one of {}", listed(known)) } else { guess };
    format!("{} is not an environment{help}", shown(name))
}

fn listed(known: &BTreeSet<&str>) -> String {
    known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
