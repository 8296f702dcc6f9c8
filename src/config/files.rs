//! The files of a workspace as bytes: read, found to be text, and found to lie inside the workspace.

use std::{
    fs,
    io::Read,
    os::unix::fs::OpenOptionsExt,
    path::{Component, Path, PathBuf},
    rc::Rc,
};

use super::{
    file::SourceFile,
    problem::{Ledger, shown},
};

/// Larger is a mistake: no file that people write is.
const LARGEST: u64 = 1 << 20;

/// Reads `path` (relative to `root`). `missing` says what to do when it is not there; every failure is told. `root` is canonical.
pub fn read(root: &Path, path: &str, missing: &str, ledger: &Ledger) -> Option<Rc<SourceFile>> {
    // What a link leads to outside is not read at all: `links` tells it.
    if fs::canonicalize(root.join(path)).is_ok_and(|real| !real.starts_with(root)) {
        return None;
    }
    let cannot = |e: std::io::Error| ledger.path(path, format!("cannot read the file: {e}"));
    // Opening a FIFO would wait for a writer for ever.
    let file = fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(root.join(path));
    let (file, meta) = match file.and_then(|file| file.metadata().map(|meta| (file, meta))) {
        Ok(opened) => opened,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            ledger.path(path, format!("missing: {missing}"));
            return None;
        }
        Err(e) => {
            cannot(e);
            return None;
        }
    };
    if !meta.is_file() {
        ledger.path(path, "not a file: write a text file here");
        return None;
    }
    if meta.len() > LARGEST {
        ledger.path(path, "larger than 1 MiB: this is not a settings file");
        return None;
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize + 1);
    if let Err(e) = file.take(LARGEST).read_to_end(&mut bytes) {
        cannot(e);
        return None;
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => {
            let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
            let line = 1 + good.iter().filter(|b| **b == b'\n').count();
            ledger.line(path, line, "", "not UTF-8: save the file as UTF-8");
            return None;
        }
    };
    if text.trim().is_empty() {
        let file = path.rsplit('/').next().unwrap_or(path);
        let help = if file.ends_with(".toml") {
            format!("`lap help {file}` shows its keys")
        } else {
            "it begins with FROM".to_owned()
        };
        ledger.line(path, 1, "", format!("the file is empty: {help}"));
        return None;
    }
    Some(Rc::new(SourceFile { path: path.to_owned(), text }))
}

/// The names of the directories in `dir` (relative to `root`), sorted. Hidden ones do not count, nor do plain files.
pub fn directories(root: &Path, dir: &str, ledger: &Ledger) -> Vec<String> {
    let entries = match fs::read_dir(root.join(dir)) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(e) => {
            ledger.path(dir, format!("cannot read the directory: {e}"));
            return Vec::new();
        }
    };
    let mut names = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir() || (kind.is_symlink() && entry.path().is_dir()));
        if hidden || !is_dir {
            continue;
        }
        match name.into_string() {
            Ok(name) => names.push(name),
            Err(name) => {
                let name = name.to_string_lossy();
                ledger.path(&format!("{dir}/{name}"), "the name is not UTF-8: rename the directory");
            }
        }
    }
    names.sort();
    names
}

/// Tells every symbolic link in `path` (relative to `root`, itself included) that leads out of the workspace.
pub fn links(root: &Path, path: &str, ledger: &Ledger) {
    if fs::symlink_metadata(root.join(path)).is_ok_and(|meta| meta.is_symlink()) {
        link(root, path, ledger);
        return;
    }
    let mut todo = vec![path.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(root.join(&dir)).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if !kind.is_dir() && !kind.is_symlink() {
                continue;
            }
            let name = entry.file_name();
            let below = format!("{dir}/{}", name.to_string_lossy());
            if kind.is_symlink() {
                link(root, &below, ledger);
            } else if name.to_str().is_some() {
                todo.push(below);
            }
        }
    }
}

fn link(root: &Path, path: &str, ledger: &Ledger) {
    let full = root.join(path);
    let Ok(target) = fs::read_link(&full) else { return };
    let inside = match fs::canonicalize(&full) {
        Ok(real) => real.starts_with(root),
        // It leads nowhere yet; where it would lead still counts.
        Err(_) => {
            let joined = full.parent().unwrap_or(root).join(&target);
            lexical(&joined).starts_with(root)
        }
    };
    if !inside {
        let to = shown(&target.to_string_lossy());
        ledger.path(path, format!("the link leads out of the workspace, to {to}: replace it by a copy"));
    }
}

/// `path` without `.` and `..`, as far as names alone can tell.
fn lexical(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}
