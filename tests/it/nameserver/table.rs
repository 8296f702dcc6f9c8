//! docs/dns.md names a test for each statement about an RFC. These tests must exist.

use std::{
    fs,
    path::{Path, PathBuf},
};

use lap_nameserver::{keys, names};

fn sources(dir: &Path, all: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// Returns whether there is a test function with this name.
fn is_test(sources: &str, name: &str) -> bool {
    let after = |start: &str| {
        let lines: Vec<&str> = sources.lines().collect();
        let at = lines.iter().position(|l| l.trim_start().starts_with(&format!("{start}fn {name}()")));
        at.is_some_and(|at| at > 0 && lines[at - 1].trim_start().starts_with("#[") && lines[at - 1].contains("test"))
    };
    after("") || after("async ")
}

#[test]
fn every_test_in_the_table_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/dns.md")).unwrap();
    let mut all = String::new();
    sources(&root.join("crates/nameserver/src/server"), &mut all);
    sources(&root.join("tests/it/nameserver"), &mut all);
    let mut rows = 0;
    for row in page.lines().filter(|l| l.starts_with("| RFC ")) {
        let column = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let tests: Vec<&str> = column.split(", ").map(|t| t.trim_matches('`')).collect();
        assert!(!tests.is_empty(), "{row}");
        for test in tests {
            assert!(is_test(&all, test), "there is no test `{test}`: {row}");
        }
        rows += 1;
    }
    assert!(rows > 30, "{rows} rows");
    assert!(!is_test(&all, "sources") && !is_test(&all, "nothing_of_this_name"), "the check can fail");
}

/// The configurations on the page are the tested ones, except for addresses, names and secrets.
#[test]
fn the_page_shows_the_tested_configurations() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/dns.md")).unwrap();
    let dhcp = fs::read_to_string(root.join("tests/it/nameserver/dhcp.rs")).unwrap();
    for line in ["authoritative;", "ddns-updates on;", "range 10.77.0.100 10.77.0.150;", "default-lease-time 600;"] {
        assert!(page.contains(line) && dhcp.contains(line), "{line}");
    }
    let names = page.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let names: names::Names = serde_json::from_str(names).unwrap();
    assert_eq!((names.records.len(), names.forward.len(), names.secondaries.len()), (1, 1, 1));
    let keys = page.split("```json").nth(2).unwrap().split("```").next().unwrap();
    let keys: keys::KeyFile = serde_json::from_str(keys).unwrap();
    assert_eq!(keys.keys.len(), 2);
}
