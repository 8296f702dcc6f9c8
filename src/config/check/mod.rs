//! What several files say together: one question, one file.

mod addresses;
mod copies;
mod depends;
mod environments;
mod grants;
mod images;
mod mounts;
mod names;
mod ports;
mod records;

use std::path::Path;

pub use environments::default_environment;
pub use grants::beyond;

use super::{problem::Ledger, workspace::WorkspaceFiles};

/// Asks every question.
pub fn all(root: &Path, workspace: &WorkspaceFiles, ledger: &Ledger) {
    environments::check(workspace, ledger);
    addresses::check(workspace, ledger);
    names::check(workspace, ledger);
    records::check(workspace, ledger);
    ports::check(workspace, ledger);
    depends::check(workspace, ledger);
    mounts::check(workspace, ledger);
    grants::check(workspace, ledger);
    copies::check(workspace, ledger);
    images::check(root, workspace, ledger);
}
