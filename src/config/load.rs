//! From a directory to a [`Lab`], or to everything that is wrong with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{
    check, dockerfile, files,
    model::{Container, Lab, Role},
    problem::{Ledger, Problems},
    read,
    value::name,
    workspace::WorkspaceFiles,
};

/// The variable in which every container finds the lab's zone.
const ZONE_VARIABLE: &str = "LAP_ZONE";

/// Reads the workspace at `root`; `lab_override` replaces its name (tests run many labs from one workspace).
///
/// Only files under `root` are read, and nothing else is touched.
pub fn load(root: &Path, lab_override: Option<&str>) -> Result<Lab, Problems> {
    let ledger = Ledger::default();
    // Without this, links could not be compared with it; a root that is gone fails below, at `lap.toml`.
    let root = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
    for path in ["lap.toml", "nodes", "containers", "env"] {
        files::links(&root, path, &ledger);
    }
    let workspace = read_all(&root, &ledger);
    check::all(&root, &workspace, &ledger);
    let lab_override = lab_override.map(name::label).transpose().map_err(|message| {
        ledger.path("lap.toml", format!("lab: the name in `--lab`: {message}"));
    });
    match ledger.finish() {
        Some(problems) => Err(problems),
        None => Ok(resolve(&root, workspace, lab_override.ok().flatten())),
    }
}

fn read_all(root: &Path, ledger: &Ledger) -> WorkspaceFiles {
    let named = |dir: &str| {
        let names = files::directories(root, dir, ledger);
        for name in &names {
            if let Err(message) = name::label(name) {
                ledger.path(&format!("{dir}/{name}"), message);
            }
        }
        names
    };
    let environments = named("env").into_iter().map(|name| (name.clone(), read::env::read(root, &name, ledger)));
    let nodes = named("nodes").into_iter().map(|name| (name.clone(), read::node::read(root, &name, ledger)));
    let mut workspace = WorkspaceFiles {
        lap: read::lap::read(root, ledger),
        rootfs: read::rootfs::read(root, ledger),
        environments: environments.collect(),
        nodes: nodes.collect(),
        containers: BTreeMap::new(),
        dockerfiles: BTreeMap::new(),
    };
    let zone = workspace.lap.value.dns.dns.zone.clone();
    for name in named("containers") {
        let mut read = read::container::read(root, &name, &zone, ledger);
        let path = format!("containers/{name}/Dockerfile");
        if let Some(file) = files::read(root, &path, "write one that begins with FROM", ledger) {
            let dockerfile = dockerfile::parse(&file.text, &read.value.container.build.args);
            read.value.container.build.parents = dockerfile.parents();
            workspace.dockerfiles.insert(name.clone(), (file, dockerfile));
        }
        workspace.containers.insert(name, read);
    }
    workspace
}

/// The model, of a workspace without problems.
fn resolve(root: &Path, workspace: WorkspaceFiles, lab_override: Option<String>) -> Lab {
    let lap = workspace.lap.value;
    let zone = lap.dns.dns.zone.clone();
    let nodes: BTreeMap<_, _> = workspace.nodes.into_iter().map(|(name, read)| (name, read.value.node)).collect();
    let mut environments: BTreeMap<_, _> =
        workspace.environments.into_iter().map(|(name, read)| (name, read.value)).collect();
    for node in nodes.values() {
        let Some(environment) = environments.get_mut(&node.environment) else { continue };
        match node.role {
            Role::Master => environment.master = node.name.clone(),
            Role::Builder => environment.builder = Some(node.name.clone()),
            Role::Worker | Role::Data | Role::Backup => {}
        }
    }
    let names: BTreeSet<&str> = environments.keys().map(String::as_str).collect();
    // Part of what a container is made from: another zone makes other containers.
    let known = |mut container: Container| {
        container.environment.entry(ZONE_VARIABLE.to_owned()).or_insert_with(|| zone.clone());
        container
    };
    Lab {
        name: lab_override.unwrap_or(lap.lab),
        root: root.to_path_buf(),
        default_environment: check::default_environment(lap.default.as_deref(), &names).unwrap_or_default(),
        subnet: lap.subnet,
        operators: lap.operators,
        grants: lap.grants,
        hosts: lap.hosts,
        pcs: lap.pcs,
        dns: lap.dns.dns,
        snapshot: lap.snapshot,
        repositories: lap.repositories,
        copies: lap.copies,
        promote: lap.promote,
        containers: workspace.containers.into_iter().map(|(name, read)| (name, known(read.value.container))).collect(),
        environments,
        nodes,
        rootfs: workspace.rootfs.value,
    }
}
