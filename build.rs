//! Gives the binary its identity: a hash of everything it is made from, so that "is the agent on that node this very
//! binary?" is a comparison of two short strings and not of two files.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
};

fn main() {
    let mut files = vec![PathBuf::from("Cargo.lock"), PathBuf::from("Cargo.toml"), PathBuf::from("lap.toml")];
    for dir in ["src", "containers", "nodes", "env"] {
        walk(Path::new(dir), &mut files);
        println!("cargo::rerun-if-changed={dir}");
    }
    files.sort();
    // The standard hasher has fixed keys: the same sources give the same identity on every machine.
    let mut hash = DefaultHasher::new();
    for file in &files {
        file.hash(&mut hash);
        fs::read(file).unwrap_or_default().hash(&mut hash);
    }
    for name in ["PROFILE", "TARGET", "OPT_LEVEL"] {
        std::env::var(name).unwrap_or_default().hash(&mut hash);
    }
    println!("cargo::rerun-if-changed=Cargo.lock");
    println!("cargo::rerun-if-changed=lap.toml");
    println!("cargo::rustc-env=LAP_BUILD={:016x}", hash.finish());
}

fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, out);
        } else {
            out.push(path);
        }
    }
}
