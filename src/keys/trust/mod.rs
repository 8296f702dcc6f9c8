//! `lap keys trust [--undo]`: makes this machine trust the lab's root certificate, in the system's store and for
//! Docker (`certs.d`, which dockerd reads at each pull: no restart).
//!
//! Three beats: [`observe()`] what is there, [`plan`] what to change (pure; each change prints as one line), [`apply()`].

mod apply;
mod observe;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};

pub use apply::{apply, run_command};
pub use observe::observe;

const DEBIAN_ANCHORS: &str = "/usr/local/share/ca-certificates";
const DEBIAN_CONFIG: &str = "/etc/ca-certificates.conf";
const FEDORA_ANCHORS: &str = "/etc/pki/ca-trust/source/anchors";
const DOCKER: &str = "/etc/docker/certs.d";
/// dockerd takes every `*.crt` beside it as an authority.
const DOCKER_FILE: &str = "ca.crt";

/// What is wanted.
#[derive(Clone, Debug)]
pub struct TrustInputs {
    /// The lab's name.
    pub lab: String,
    /// The lab's root certificate, PEM.
    pub certificate: String,
    /// Registries, `docker.internal:5000` or `192.168.0.10:5000`.
    pub registries: Vec<String>,
    /// Take it back instead. Finds every registry that was installed, listed or not.
    pub undo: bool,
}

/// The kind of this machine's store of certificate authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemStore {
    /// Debian, Ubuntu: `update-ca-certificates`.
    Debian,
    /// Fedora, RHEL: `update-ca-trust`.
    Fedora,
}

/// What is on this machine. All paths as seen from its root directory.
#[derive(Clone, Debug, Default)]
pub struct FileFacts {
    /// `None`: no store that lap knows (the caller should say so; Docker's part works all the same).
    pub store: Option<SystemStore>,
    /// The certificate is in the bundle that programs read.
    pub bundled: bool,
    /// Another file than ours puts it there.
    pub elsewhere: bool,
    /// Content of the files that matter, as far as they exist.
    pub files: BTreeMap<PathBuf, String>,
    /// Directories in Docker's `certs.d` that hold nothing but our kind of file: they may go with it.
    pub disposable: BTreeSet<PathBuf>,
}

/// One change of this machine; prints as one line. Paths as seen from its root directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustChange {
    /// There is something else where our file should be: nothing will be done until somebody looks.
    Foreign(PathBuf),
    /// Write a file that everybody may read.
    Write { path: PathBuf, content: String },
    /// Remove a file.
    Remove(PathBuf),
    /// Remove an empty directory.
    RemoveDirectory(PathBuf),
    /// Bring the system's bundle up to date.
    Update(SystemStore),
    /// The same, after the lab's certificate went.
    Forget(SystemStore, String),
}

impl fmt::Display for TrustChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(path) => write!(f, "keep {}: it contains another certificate", path.display()),
            Self::Write { path, .. } => write!(f, "write {}", path.display()),
            Self::Remove(path) => write!(f, "remove {}", path.display()),
            Self::RemoveDirectory(path) => write!(f, "remove {}/", path.display()),
            Self::Update(store) | Self::Forget(store, _) => write!(f, "run {}", store.command()),
        }
    }
}

impl SystemStore {
    fn command(self) -> &'static str {
        match self {
            Self::Debian => "update-ca-certificates",
            Self::Fedora => "update-ca-trust",
        }
    }

    fn anchors(self) -> &'static Path {
        Path::new(match self {
            Self::Debian => DEBIAN_ANCHORS,
            Self::Fedora => FEDORA_ANCHORS,
        })
    }
}

/// The changes that make the machine trust the lab, or take that back; empty: nothing to do. Pure.
pub fn plan(inputs: &TrustInputs, facts: &FileFacts) -> Vec<TrustChange> {
    if inputs.undo { plan_undo(inputs, facts) } else { plan_install(inputs, facts) }
}

fn plan_install(inputs: &TrustInputs, facts: &FileFacts) -> Vec<TrustChange> {
    let ours = |content: &String| content.starts_with(&inputs.certificate);
    let put = |path: PathBuf| match facts.files.get(&path) {
        Some(content) if ours(content) => None,
        Some(_) => Some(TrustChange::Foreign(path)),
        None => Some(TrustChange::Write { path, content: inputs.certificate.clone() }),
    };
    let mut changes = Vec::new();
    if let Some(store) = facts.store {
        let write = put(store.anchors().join(anchor(&inputs.lab)));
        let update = write.is_some() || !facts.bundled;
        changes.extend(write);
        changes.extend(update.then_some(TrustChange::Update(store)));
    }
    let places: BTreeSet<_> = inputs.registries.iter().map(|r| Path::new(DOCKER).join(r).join(DOCKER_FILE)).collect();
    changes.extend(places.into_iter().filter_map(put));
    changes
}

fn plan_undo(inputs: &TrustInputs, facts: &FileFacts) -> Vec<TrustChange> {
    let mut changes = Vec::new();
    for (path, content) in &facts.files {
        let Some(rest) = content.strip_prefix(&inputs.certificate) else { continue };
        if !rest.trim().is_empty() {
            // Somebody added their own below ours: that is not ours to remove.
            changes.push(TrustChange::Write { path: path.clone(), content: rest.trim_start().to_owned() });
            continue;
        }
        changes.push(TrustChange::Remove(path.clone()));
        if let Some(dir) = path.parent().filter(|d| facts.disposable.contains(*d)) {
            changes.push(TrustChange::RemoveDirectory(dir.to_owned()));
        }
    }
    if let Some(store) = facts.store {
        let file = store.anchors().join(anchor(&inputs.lab));
        let present = facts.files.get(&file);
        // In the bundle without any file: what an undo leaves that was killed before its last step.
        let leftover = present.is_none() && facts.bundled && !facts.elsewhere;
        if leftover || present.is_some_and(|c| c.starts_with(&inputs.certificate)) {
            changes.push(TrustChange::Forget(store, anchor(&inputs.lab)));
        }
    }
    changes
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn anchor(lab: &str) -> String {
    format!("lap-{lab}.crt")
}

#[cfg(test)]
mod tests;
