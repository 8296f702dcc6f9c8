//! `nodes/rootfs.toml`: the one definition of every node's root file system.

use std::path::Path;

use super::{ParsedFile, build};
use crate::config::{
    document::{Table, open},
    files,
    model::Rootfs,
    problem::Ledger,
};

/// Where it is, relative to the workspace.
pub const PATH: &str = "nodes/rootfs.toml";

/// Reads it. Its keys are those of `build.rootfs` in a `container.toml`.
pub fn read(root: &Path, ledger: &Ledger) -> ParsedFile<Rootfs> {
    let mut out = Rootfs::default();
    let missing = "missing: lap makes nodes from it, `lap help rootfs.toml` shows an example to copy";
    let file = files::read(root, PATH, missing, ledger).filter(|file| {
        let Some(document) = open(file, ledger) else { return false };
        out = build::rootfs_table(&Table::document(file, &document, &build::ROOTFS, ledger));
        true
    });
    ParsedFile { file, value: out }
}
