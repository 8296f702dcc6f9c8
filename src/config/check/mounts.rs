//! Nothing is mounted over something else.

use std::{collections::HashSet, path::Path};

use crate::config::{lines::element, problem::Ledger, workspace::WorkspaceFiles};

pub fn check(workspace: &WorkspaceFiles, ledger: &Ledger) {
    for read in workspace.containers.values() {
        let Some(file) = &read.file else { continue };
        let lists = &read.value.lists;
        let volumes = lists.volumes.iter().map(|(i, volume)| ("volumes", *i, volume.target.as_path()));
        let tmpfs =
            lists.tmpfs.iter().map(|(i, text)| ("tmpfs", *i, Path::new(text.split(':').next().unwrap_or(text))));
        let mut taken = HashSet::new();
        for (key, i, target) in volumes.chain(tmpfs) {
            if !taken.insert(target) {
                let message = format!("another volume is mounted on `{}`: write another target", target.display());
                ledger.key(file, element(key, i), message);
            }
        }
    }
}
