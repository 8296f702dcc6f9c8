//! What images stand on, and what lap puts into their build contexts.

use std::{collections::BTreeMap, path::Path};

use crate::config::{
    dockerfile::parent,
    graph,
    problem::{Ledger, did_you_mean, shown},
    workspace::WorkspaceFiles,
};

pub fn check(root: &Path, workspace: &WorkspaceFiles, ledger: &Ledger) {
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, (file, dockerfile)) in &workspace.dockerfiles {
        for (line, message) in &dockerfile.problems {
            ledger.line(&file.path, *line, "", message);
        }
        let targets = edges.entry(name).or_default();
        for base in &dockerfile.bases {
            let Some((target, tag)) = parent(&base.image) else { continue };
            if !workspace.containers.contains_key(target) {
                let guess = did_you_mean(target, workspace.containers.keys().map(String::as_str));
                let help = if guess.is_empty() { ": `infra/` is for directories in `containers`" } else { &guess };
                ledger.line(&file.path, base.line, "", format!("{} is not a container{help}", shown(target)));
            } else if !matches!(tag, "" | ":latest") {
                let message = format!("images of this lab have no tags: write `infra/{target}`");
                ledger.line(&file.path, base.line, "", message);
            }
            targets.push(target);
        }
    }
    for cycle in graph::cycles(&edges) {
        let (file, dockerfile) = &workspace.dockerfiles[cycle[0]];
        let next = cycle.get(1).unwrap_or(&cycle[0]);
        let base = dockerfile.bases.iter().find(|base| parent(&base.image).is_some_and(|(target, _)| target == *next));
        let line = base.map_or(1, |base| base.line);
        let message = format!("a cycle: {}: one of them needs another base image", graph::drawn(&cycle));
        ledger.line(&file.path, line, "", message);
    }
    context(root, workspace, ledger);
    checks(workspace, ledger);
}

/// The image that a container's checks run in is one of this lab.
fn checks(workspace: &WorkspaceFiles, ledger: &Ledger) {
    for read in workspace.containers.values() {
        let Some(file) = &read.file else { continue };
        let Some(image) = read.value.container.checks.as_ref().and_then(|checks| checks.image.as_ref()) else {
            continue;
        };
        if !workspace.containers.contains_key(image) {
            let guess = did_you_mean(image, workspace.containers.keys().map(String::as_str));
            let help = if guess.is_empty() { ": write the name of a directory in `containers`" } else { &guess };
            ledger.key(file, "checks.image", format!("{} is not a container{help}", shown(image)));
        }
    }
}

/// lap's own additions to the context must not hide a file of the directory.
fn context(root: &Path, workspace: &WorkspaceFiles, ledger: &Ledger) {
    for (name, read) in &workspace.containers {
        let Some(file) = &read.file else { continue };
        let build = &read.value.container.build;
        let added = [("with_lap", "lap", build.with_lap), ("rootfs", "rootfs.tar", build.rootfs.is_some())];
        for (key, added, used) in added {
            if used && root.join("containers").join(name).join(added).symlink_metadata().is_ok() {
                let message =
                    format!("puts `{added}` into the context, which contains `{added}` already: rename that file");
                ledger.key(file, format!("build.{key}"), message);
            }
        }
    }
}
