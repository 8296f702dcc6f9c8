//! Dependencies point one way: between the entries of every folder, and down the list of layers.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use self::{
    circles::{circles, entry},
    house::House,
};

mod circles;
mod house;
mod module;
mod seeded;
mod tokens;

/// Folders that are not clean yet.
const LEFT: &[&str] = &[
    "",
    "apply/",
    "apply/conformance/",
    "apply/promote/",
    "apply/promote/consent/",
    "apply/promote/hooks/",
    "cli/",
    "cli/node/",
    "config/",
    "config/document/",
    "config/read/",
    "dns/",
    "dns/forward/",
    "dns/metrics/",
    "dns/zones/",
    "dns_client/",
    "drivers/node/",
    "drivers/node/vm/",
    "keys/",
    "keys/trust/",
    "observe/",
    "plan/prune/",
    "release/",
    "report/",
    "repository/",
    "repository/restore/",
    "resolve/",
    "snapshot/",
    "snapshot/nested/",
    "snapshot/tree/",
];

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The `src` of the root package and of each crate below `crates`.
fn crates() -> Vec<PathBuf> {
    let mut out = vec![checkout().join("src")];
    if let Ok(entries) = fs::read_dir(checkout().join("crates")) {
        let all = entries.map(|entry| entry.unwrap().path().join("src"));
        out.extend(all.filter(|src| src.is_dir()));
    }
    out
}

/// Each entry of a folder (a file, or a folder as a whole; a folder's own `mod.rs` is an entry like the others) may depend on
/// others only if these do not depend on it. There is no exception.
#[test]
fn no_folder_has_a_circle() {
    let mut found = String::new();
    for src in crates() {
        for circle in circles(&House::read(&src).edges("lap")).iter().filter(|circle| !LEFT.contains(&&*circle.folder))
        {
            found.push_str(&format!("{}\n{circle}", src.strip_prefix(checkout()).unwrap().display()));
        }
    }
    assert!(found.is_empty(), "{found}");
}
