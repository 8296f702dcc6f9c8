//! Gives the binary its identity: a hash of everything it is made from, so that "is the agent on that node this very
//! binary?" is a comparison of two short strings and not of two files.
//!
//! And puts this repository's workspace into it, for `lap init`.

use std::{
    collections::hash_map::DefaultHasher,
    fmt::Write,
    fs,
    hash::{Hash, Hasher},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
fn main() {
    let mut files = vec![
        PathBuf::from("Cargo.lock"),
        PathBuf::from("Cargo.toml"),
        PathBuf::from("build.rs"),
        PathBuf::from("lap.toml"),
    ];
    for dir in ["src", "crates", "vendor", "containers", "nodes", "env"] {
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
    templates(&files);
    for file in ["Cargo.lock", "Cargo.toml", "build.rs", ".cargo"] {
        println!("cargo::rerun-if-changed={file}");
    }
    println!("cargo::rerun-if-changed=lap.toml");
    println!("cargo::rustc-env=LAP_BUILD={:016x}", hash.finish());
}
/// Writes the list `TEMPLATES` of `src/config/init.rs`.
fn templates(files: &[PathBuf]) {
    let root = std::env::current_dir().expect("cargo sets the directory");
    let mut list = String::from("const TEMPLATES: &[Template] = &[\n");
    let other = |file: &Path| {
        ["src", "crates", "vendor", "Cargo.toml", "Cargo.lock", "build.rs"].iter().any(|name| file.starts_with(name))
    };
    for file in files.iter().filter(|file| !other(file)) {
        let Ok(meta) = fs::metadata(file) else { continue };
        let executable = meta.permissions().mode() & 0o111 != 0;
        writeln!(
            list,
            "    Template {{ path: {file:?}, bytes: include_bytes!({:?}), executable: {executable} }},",
            root.join(file)
        )
        .expect("a string takes all");
    }
    list.push_str("];\n");
    let out = std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join("templates.rs"), list).expect("OUT_DIR can be written to");
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
