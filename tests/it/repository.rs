//! The repository's shape: small files, and layers that look one way.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A file is read in one go. CONTRIBUTING.md says so, and `scripts/lint` counts the same way.
const MOST_LINES: usize = 500;

/// Every Rust file of lap and of its crates, with its text. A name is a path without `src/`: `cli/up.rs`, `crates/base/state.rs`.
pub fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut left: Vec<(String, PathBuf)> = vec![(String::new(), root.join("src"))];
    for entry in fs::read_dir(root.join("crates")).unwrap() {
        let path = entry.unwrap().path();
        left.push((format!("crates/{}/", path.file_name().unwrap().display()), path.join("src")));
    }
    assert!(left.len() > 4, "the crates are not where they were");
    let mut out = Vec::new();
    while let Some((name, dir)) = left.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{name}{}", path.file_name().unwrap().display());
            if path.is_dir() {
                left.push((format!("{name}/"), path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                out.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    out.sort();
    assert!(out.len() > 400, "the sources are not where they were");
    out
}

/// The lines that are code: no comments, no tests at a file's end, nothing in files of tests.
fn code(name: &str, text: &str) -> Vec<(usize, String)> {
    if name.contains("tests") {
        return Vec::new();
    }
    text.lines()
        .enumerate()
        .take_while(|(_, line)| *line != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(n, line)| (n + 1, line.to_owned()))
        .collect()
}

/// Nothing outside these places says any of `words`.
#[track_caller]
fn only(places: &[&str], words: &[&str]) {
    let inside = |name: &str| places.iter().any(|place| name == *place || name.starts_with(&format!("{place}/")));
    let mut found = Vec::new();
    for (name, text) in sources().iter().filter(|(name, _)| !inside(name)) {
        for (n, line) in code(name, text) {
            if words.iter().any(|word| says(&line, word)) {
                found.push(format!("{name}:{n}: {}", line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "only {places:?} may say {words:?}:\n{}", found.join("\n"));
}

/// Whether `word` stands in `line` and not as a part of another one.
fn says(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part))
}

#[test]
fn files_are_small() {
    let long: Vec<String> = sources()
        .iter()
        .map(|(name, text)| (name, text.lines().take_while(|line| *line != "#[cfg(test)]").count()))
        .filter(|(_, lines)| *lines > MOST_LINES)
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "longer than {MOST_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn only_cli_knows_the_command_line() {
    only(&["cli"], &["clap", "clap_complete", "clap_mangen"]);
}

#[test]
fn only_some_print() {
    // The agent and the name server write logs: `say` and its like.
    only(
        &["cli", "report", "agent", "crates/nameserver/server/audit.rs", "main.rs"],
        &["println!", "print!", "eprintln!", "eprint!", "out!", "outln!", "errln!"],
    );
}

#[test]
fn planning_is_pure() {
    let outside = |name: &&(String, String)| name.0.starts_with("plan/");
    let sources = sources();
    assert!(sources.iter().any(|source| outside(&source)), "there is no `src/plan`: this test checks nothing");
    let mut found = Vec::new();
    for (name, text) in sources.iter().filter(outside) {
        for (n, line) in code(name, text) {
            let impure = [
                "async",
                "await",
                "tokio",
                "bollard",
                "std::fs",
                "fs::",
                "std::net::Tcp",
                "std::process",
                "SystemTime",
                "Instant",
            ];
            if impure.iter().any(|word| says(&line, word)) {
                found.push(format!("{name}:{n}: {}", line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "a plan is made of arguments:\n{}", found.join("\n"));
}

/// A file that was renamed would no longer be covered.
#[test]
fn the_files_that_the_tests_on_machines_cover_exist() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/machines");
    let output = std::process::Command::new(script).arg("fingerprint").output().unwrap();
    let (hash, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && hash.trim().len() == 64, "{hash}{said}");
}

/// Calls that read a file of state or take what it holds apart.
const READS: [&str; 10] = [
    "fs::read(",
    "fs::read_to_string(",
    "fs::read_dir(",
    "serde_json::from_slice",
    "serde_json::from_str",
    "serde_json::from_value",
    "state::bytes(",
    "state::json",
    "state::word(",
    "state::names(",
];

/// What makes of an error that there is nothing.
const DISCARDS: [&str; 8] = [
    ".ok()",
    ".unwrap_or_default()",
    ".unwrap_or(",
    ".is_ok_and(",
    "let Ok(",
    ".into_iter().flatten()",
    "Err(_) =>",
    ".is_ok()",
];

/// Statements that read and discard the error, and why each may. What a file of state says, or that it cannot be read, is
/// `lap_base::state`'s to tell.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("", "value_or_refuse()", "the error is not discarded"),
    ("agent/", "/proc", "the kernel's own files: those of a process that ended are gone"),
    ("observe/", "/proc", "the kernel's own files"),
    ("agent/data/io_latency.rs", "task", "the kernel's own files"),
    ("agent/data/io_latency.rs", "cgroup", "the kernel's own files"),
    ("agent/data/processes.rs", "thread.path()", "the kernel's own files"),
    ("agent/data/guard.rs", "group.join", "the kernel's own files: a control group that is gone has no process"),
    ("agent/system/kernel.rs", "", "the kernel's own files"),
    ("agent/daemons/supervise.rs", "DOCKER_LOG", "the last lines of a log, for a message"),
    ("agent/daemons/supervise.rs", "pid_file", "a daemon whose number is not known is started"),
    ("agent/system/failpoint.rs", "FILE", "only tests write it"),
    ("agent/boot/guest.rs", "asked", "a message of the hypervisor"),
    ("agent/serve/hold.rs", "Note", "a message"),
    ("agent/serve/switch.rs", "reply", "a message"),
    ("agent/data/hooks.rs", "Current", "a record that could not be read is told by `snapshots::take`"),
    ("agent/boot/uninstall.rs", "DOCKER_SETTINGS", "a file that is not known to be lap's stays"),
    ("agent/boot/prepare.rs", "is == bytes", "a file that cannot be read is written anew"),
    ("agent/boot/prepare.rs", "let is = fs::read_to_string(path)", "a file that is not known to be lap's stays"),
    ("agent/journal/lines.rs", "", "damaged lines are counted, and told in the log"),
    ("agent/prune/registry/read.rs", "", "a manifest that cannot be read may name any layer"),
    (
        "agent/switch/measure.rs",
        "ReleaseManifest",
        "`switch::run` wrote it from a record that could be read; nothing is measured without it",
    ),
    ("agent/recorded/anew.rs", "meta.current", "one of many sources; without any it is refused"),
    ("cli/snapshot/mount.rs", "/proc", "the kernel's own files"),
    ("apply/local.rs", "old == text", "a file that cannot be read is written anew"),
    ("crates/base/upstreams.rs", "resolv", "this machine's resolver, not lap's state"),
    ("plan/nodes.rs", "is.spec", "a label; a node whose label is not known is compared as one that differs"),
    ("prune/", "ReleaseManifest", "the agent refuses first; what is not known may need anything"),
    ("crates/snapshots/plain/known.rs", "", "a cache: what it does not know is copied"),
    ("crates/snapshots/take.rs", "", "what cannot be read is no whole snapshot"),
];

/// The statements of a file's code, roughly: lines up to one that ends with `;`, `{` or `}`, joined.
pub fn statements(name: &str, text: &str) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (n, line) in code(name, text) {
        let line = line.trim();
        match all.last_mut().filter(|_| open) {
            Some((_, statement)) => statement.push_str(line),
            None => all.push((n, line.to_owned())),
        }
        open = !line.ends_with([';', '{', '}']);
    }
    all
}

/// "Cannot be read" is not "is not there".
#[test]
fn no_error_of_a_state_file_is_discarded() {
    let layers = [
        "agent/",
        "crates/snapshots/",
        "release/",
        "apply/",
        "plan/",
        "prune/",
        "observe/",
        "cli/",
        "crates/base/",
        "crates/nameserver/server/store/",
    ];
    let (mut found, mut used) = (Vec::new(), BTreeSet::new());
    for (name, text) in sources().iter().filter(|(name, _)| layers.iter().any(|layer| name.starts_with(layer))) {
        for (n, statement) in statements(name, text) {
            let is = |words: &[&str]| words.iter().any(|word| statement.contains(word));
            if !is(&READS) || !is(&DISCARDS) {
                continue;
            }
            let allowed = ALLOWED.iter().position(|(file, word, _)| name.starts_with(file) && statement.contains(word));
            match allowed {
                Some(allowed) => drop(used.insert(allowed)),
                None => found.push(format!("{name}:{n}: {statement}")),
            }
        }
    }
    let unused: Vec<_> = ALLOWED.iter().enumerate().filter(|(at, _)| !used.contains(at)).collect();
    assert!(unused.is_empty(), "no longer needed: {unused:?}");
    assert!(found.is_empty(), "{} places discard why a file cannot be read:\n{}", found.len(), found.join("\n"));
}
