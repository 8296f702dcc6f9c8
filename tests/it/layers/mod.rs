//! Dependencies point one way: between the entries of every folder, and down the list of layers.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use self::{
    circles::{circles, entry},
    house::{Edges, House},
};

mod circles;
mod house;
mod module;
mod seeded;
mod tokens;

/// The entries of `src` from the floor upwards: each depends only on those before it. ARCHITECTURE.md has the same list.
const LAYERS: &[&str] = &[
    "binds.rs",
    "lib.rs",
    "report",
    "resolve",
    "keys",
    "names",
    "config",
    "names.rs",
    "release",
    "probe.rs",
    "wire",
    "docker.rs",
    "prune",
    "registry",
    "agent",
    "drivers",
    "plan",
    "workspace.rs",
    "observe",
    "apply",
    "conformance",
    "cli",
    "main.rs",
];

/// What a layer may not know, although it is below.
const STRANGERS: &[(&str, &[&str])] = &[
    ("config", &["keys", "report", "resolve"]),
    ("names.rs", &["keys", "report"]),
    ("agent", &["config", "names.rs"]),
    ("registry", &["config", "keys"]),
    ("plan", &["agent", "keys", "report"]),
    ("observe", &["agent"]),
    ("apply", &["agent"]),
];

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The `src` of the root package and of each crate below `crates`.
fn crates() -> Vec<PathBuf> {
    let mut out = vec![checkout().join("src")];
    let entries = fs::read_dir(checkout().join("crates")).unwrap();
    out.extend(entries.map(|entry| entry.unwrap().path().join("src")));
    assert!(out.len() > 4, "the crates are not where they were");
    out
}

/// Dependencies between the entries of `src`: from, to, and an example.
fn between(edges: &Edges) -> Vec<(String, String, String)> {
    let name = |file: &str| entry("", file).unwrap_or_default().trim_end_matches('/').to_owned();
    let all = edges.iter().map(|((from, to), names)| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        (name(from), name(to), format!("src/{from} -> src/{to}: {}", names.join(", ")))
    });
    all.filter(|(from, to, _)| from != to).collect()
}

/// Each entry of a folder (a file, or a folder as a whole; a folder's own `mod.rs` is an entry like the others) may depend on
/// others only if these do not depend on it. There is no exception.
#[test]
fn no_folder_has_a_circle() {
    let mut found = String::new();
    for src in crates() {
        for circle in circles(&House::read(&src).edges("lap")) {
            found.push_str(&format!("{}\n{circle}", src.strip_prefix(checkout()).unwrap().display()));
        }
    }
    assert!(found.is_empty(), "{found}");
}

#[test]
fn each_layer_depends_only_on_those_below_it() {
    let edges = House::read(&checkout().join("src")).edges("lap");
    let between = between(&edges);
    let named: BTreeSet<&str> = between.iter().flat_map(|(from, to, _)| [&**from, &**to]).collect();
    let listed: BTreeSet<&str> = LAYERS.iter().copied().collect();
    assert_eq!(named, listed, "LAYERS lists the entries of `src`");
    let at = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    let mut found: Vec<&str> = Vec::new();
    for (from, to, because) in &between {
        let strange = STRANGERS.iter().any(|(layer, strangers)| layer == from && strangers.contains(&&**to));
        if at(to) > at(from) || strange {
            found.push(because);
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// A rule about a layer that does not exist would check nothing.
#[test]
fn the_rules_name_layers_that_exist() {
    for (layer, strangers) in STRANGERS {
        for name in [layer].into_iter().chain(*strangers) {
            assert!(LAYERS.contains(name), "there is no layer `{name}`");
        }
    }
}

#[test]
fn architecture_lists_the_same_layers() {
    let text = fs::read_to_string(checkout().join("ARCHITECTURE.md")).unwrap();
    let (_, rest) =
        text.split_once("<!-- layers: from the floor upwards -->").expect("ARCHITECTURE.md has no list of layers");
    let (list, _) = rest.split_once("<!-- end of layers -->").unwrap();
    let listed: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
    assert_eq!(listed, LAYERS);
}
