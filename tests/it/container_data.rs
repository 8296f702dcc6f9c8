//! Root reaches the data of containers by open directories only (`crates/base/src/beneath`). clippy's `disallowed-methods` knows no modules, so this
//! test reads the sources: a file that names the data makes no call that takes a path, unless the path is lap's own.

use std::collections::BTreeSet;

use crate::repository::{sources, statements};

/// What a file says that goes through the data of containers.
const OVER_DATA: [&str; 4] = ["paths::DATA", "\"/data", "join(\"data\")", "beneath"];

/// Calls that follow a path.
const BY_PATH: [&str; 22] = [
    "fs::read(",
    "fs::read_dir(",
    "fs::read_link(",
    "fs::read_to_string(",
    "fs::write(",
    "fs::rename(",
    "fs::copy(",
    "fs::remove_",
    "fs::create_dir",
    "fs::metadata(",
    "fs::symlink_metadata(",
    "fs::set_permissions(",
    "fs::hard_link(",
    "File::open(",
    "File::create",
    "OpenOptions::new",
    "tokio::fs",
    "(CWD",
    "xattr::",
    ".exists()",
    ".is_dir()",
    ".metadata()",
];

/// File, a word of the statement, and why its path is no container's.
const OWN: &[(&str, &str, &str)] = &[
    ("agent/pool/binds.rs", "self.", "the places are lap's own"),
    ("agent/pool/binds.rs", "directory", "the places are lap's own"),
    ("agent/checks.rs", "dir.is_dir()", "the directory of the checks"),
    ("agent/checks.rs", "executable", "the directory of the checks"),
    ("agent/clone_data.rs", "whole.exists()", "what came from another environment, which no container sees"),
    ("agent/clone_data.rs", "&data", "what came from another environment, which no container sees"),
    ("agent/clone_data.rs", "path.join(\"data\")", "what came from another environment, which no container sees"),
    ("agent/clone_data.rs", "source.is_dir()", "what came from another environment, which no container sees"),
    ("agent/clone_data.rs", "images.exists()", "a name directly in `/data`"),
    ("agent/pool/mount.rs", "", "names directly in the pool, and the kernel's files"),
    ("agent/snapshots/restore.rs", "let there", "names directly in `/data`"),
    ("crates/snapshots/diff.rs", "copy_of", "a file of a snapshot, which no container sees"),
    ("crates/snapshots/diff.rs", "&path", "a name in an open directory"),
    ("crates/snapshots/nested/find.rs", "path_of(here)", "the path of an open directory"),
    ("crates/snapshots/nested/mod.rs", "&from", "the directory of a snapshot"),
    ("crates/snapshots/nested/mod.rs", "&to", "the directory of a snapshot"),
    ("crates/snapshots/nested/mod.rs", "&place", "the directory of a snapshot"),
    ("crates/snapshots/nested/remove.rs", "data.join(below)", "a name directly in `/data`"),
    ("crates/snapshots/nested/remove.rs", "&place", "the directory of a snapshot"),
    ("crates/snapshots/only.rs", "RECORD", "the record of a restore"),
    ("crates/snapshots/only.rs", "&path", "the record of a restore"),
    ("crates/snapshots/only.rs", "&beside", "a name directly in `/data`"),
    ("crates/snapshots/only.rs", "half", "the directory of a snapshot"),
    ("crates/snapshots/plain/known.rs", "", "the directory `known` of the pool"),
    ("crates/snapshots/plain/take.rs", "&early", "the directory of a snapshot"),
    ("crates/snapshots/plain/take.rs", "&whole", "the directory of a snapshot"),
    ("crates/snapshots/plain/take.rs", "&copy", "a file of a snapshot, which no container sees"),
    ("crates/snapshots/plain/take.rs", "remove_file(path)", "the directory of a snapshot"),
    ("crates/snapshots/restore.rs", "", "names directly in the pool"),
    ("crates/snapshots/tree/build.rs", "mkdirat(CWD, to", "a new directory in one that lap alone changes"),
    ("crates/snapshots/stage.rs", "", "the directories of snapshots"),
    ("crates/snapshots/take.rs", "", "the directories of snapshots"),
    ("crates/snapshots/tree/file.rs", "attribute", "the copy, which no container sees"),
    ("crates/snapshots/tree/read.rs", "xattr", "a name in an open directory"),
    ("crates/snapshots/tree/mod.rs", "above", "the directory of the copy, which no container sees"),
];

#[test]
fn root_reaches_the_data_of_containers_by_open_directories_only() {
    let layers = ["agent/", "release/", "crates/snapshots/"];
    let (mut found, mut used, mut files) = (Vec::new(), BTreeSet::new(), 0);
    for (name, text) in sources().iter().filter(|(name, _)| layers.iter().any(|layer| name.starts_with(layer))) {
        let all = statements(name, text);
        if !all.iter().any(|(_, statement)| OVER_DATA.iter().any(|word| statement.contains(word))) {
            continue;
        }
        files += 1;
        for (n, statement) in all.iter().filter(|(_, statement)| !statement.starts_with("use ")) {
            if !BY_PATH.iter().any(|call| statement.contains(call)) {
                continue;
            }
            match OWN.iter().position(|(file, word, _)| file == name && statement.contains(word)) {
                Some(own) => drop(used.insert(own)),
                None => found.push(format!("{name}:{n}: {statement}")),
            }
        }
    }
    assert!(files > 15, "only {files} files go through the data: the test reads the wrong ones");
    let unused: Vec<_> = OWN.iter().enumerate().filter(|(at, _)| !used.contains(at)).collect();
    assert!(
        found.is_empty(),
        "use `lap_base::beneath`, or say in OWN why the path is lap's own:\n{}",
        found.join("\n")
    );
    assert!(unused.is_empty(), "no longer needed: {unused:?}");
}
