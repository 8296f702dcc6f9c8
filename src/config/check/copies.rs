//! Copies by themselves need snapshots that are taken by themselves, and a place to go to.

use crate::config::{problem::Ledger, workspace::WorkspaceFiles};

pub fn check(workspace: &WorkspaceFiles, ledger: &Ledger) {
    let (Some(file), lap) = (&workspace.lap.file, &workspace.lap.value) else { return };
    if lap.repositories.is_empty() && (lap.copies.every.is_some() || lap.copies.verify.is_some()) {
        ledger.key(file, "copies", "there is no repository: write one under `[repositories]`");
    }
    let Some(every) = lap.copies.every else { return };
    match lap.snapshot.as_ref().and_then(|policy| policy.every) {
        None => ledger.key(file, "copies.every", "there are no scheduled snapshots to copy: write `[snapshot] every`"),
        Some(snapshots) if snapshots > every => {
            ledger.key(
                file,
                "copies.every",
                "shorter than the interval of snapshots: write at least the value of `[snapshot] every`",
            );
        }
        Some(_) => {}
    }
}
