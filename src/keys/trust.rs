//! `lap trust install [--undo]`: makes this machine trust the lab's root certificate, in the system's store and for
//! Docker (`certs.d`, which dockerd reads at each pull: no restart).
//!
//! Three beats: [`observe`] what is there, [`plan`] what to change (pure; each change prints as one line), [`apply`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::{self, DirBuilder},
    io::ErrorKind,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use super::{files, ssh::is_host, ssh::is_label};
use crate::{Error, Kind, OrError, Result};

const DEBIAN_ANCHORS: &str = "/usr/local/share/ca-certificates";
const DEBIAN_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
const DEBIAN_CONFIG: &str = "/etc/ca-certificates.conf";
const FEDORA_ANCHORS: &str = "/etc/pki/ca-trust/source/anchors";
const FEDORA_BUNDLE: &str = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem";
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
            Self::Foreign(path) => write!(f, "leave {}: it holds another certificate", path.display()),
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

/// Looks at the machine whose root directory is `root` (`/`, or a test's).
///
/// # Errors
/// [`Kind::Config`] for a lab or registry that cannot be called so; [`Kind::Host`] when a file cannot be read.
pub fn observe(root: &Path, inputs: &TrustInputs) -> Result<FileFacts> {
    if !is_label(&inputs.lab) {
        return Err(Error::new(Kind::Config, format!("a lab cannot be called `{}`", inputs.lab)));
    }
    if let Some(wrong) = inputs.registries.iter().find(|r| !is_endpoint(r)) {
        return Err(Error::new(Kind::Config, format!("`{wrong}` is not a registry"))
            .hint("a registry is a name or an address with a port: `docker.internal:5000`"));
    }
    let mut facts = FileFacts::default();
    let has = |path: &str| inside(root, Path::new(path)).exists();
    let bundle = if has(DEBIAN_CONFIG) || has("/usr/sbin/update-ca-certificates") {
        facts.store = Some(SystemStore::Debian);
        DEBIAN_BUNDLE
    } else if has(FEDORA_ANCHORS) {
        facts.store = Some(SystemStore::Fedora);
        FEDORA_BUNDLE
    } else {
        ""
    };
    if let Some(store) = facts.store {
        // Asked of what programs read, so that a run that was killed before its last step is finished by the next.
        let squeeze = |text: &str| text.split_ascii_whitespace().collect::<String>();
        let all = read(root, Path::new(bundle))?.unwrap_or_default();
        facts.bundled = squeeze(&all).contains(&squeeze(&inputs.certificate));
        note(root, store.anchors().join(anchor(&inputs.lab)), &mut facts)?;
    }
    let mut places: BTreeSet<PathBuf> = inputs.registries.iter().map(|r| Path::new(DOCKER).join(r)).collect();
    for entry in fs::read_dir(inside(root, Path::new(DOCKER))).into_iter().flatten().flatten() {
        places.insert(Path::new(DOCKER).join(entry.file_name()));
    }
    for place in places {
        let entries: Vec<_> = fs::read_dir(inside(root, &place)).into_iter().flatten().flatten().collect();
        if !entries.is_empty() && entries.iter().all(|e| e.file_name() == DOCKER_FILE) {
            facts.disposable.insert(place.clone());
        }
        note(root, place.join(DOCKER_FILE), &mut facts)?;
    }
    Ok(facts)
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
    let mut update = None;
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
        let foreign = facts.files.get(&file).is_some_and(|c| !c.starts_with(&inputs.certificate));
        // In the bundle without our file: a killed undo, unless the certificate came from elsewhere (then it stays).
        if !foreign && (facts.bundled || facts.files.contains_key(&file)) {
            update = Some(TrustChange::Forget(store, anchor(&inputs.lab)));
        }
    }
    changes.extend(update);
    changes
}

/// Makes the changes on the machine whose root directory is `root`. `run` runs one command (its words); the paths in
/// the words are as seen from that root directory.
///
/// # Errors
/// [`Kind::Refused`], before anything is changed: there is something [`TrustChange::Foreign`], or this is the real
/// machine and we are not root. [`Kind::Host`] when a file cannot be written, or whatever `run` says.
pub fn apply(root: &Path, changes: &[TrustChange], run: &mut dyn FnMut(&[&str]) -> Result<()>) -> Result<()> {
    let foreign: Vec<_> = changes.iter().filter(|c| matches!(c, TrustChange::Foreign(_))).collect();
    if !foreign.is_empty() {
        let paths = foreign.iter().map(|c| if let TrustChange::Foreign(p) = c { format!("`{}`", p.display()) } else { String::new() });
        let message = format!("another certificate is in the way: {}", paths.collect::<Vec<_>>().join(", "));
        return Err(Error::new(Kind::Refused, message)
            .hint("run `lap trust install --undo` in the workspace it came from, or move it away"));
    }
    if !changes.is_empty() && root == Path::new("/") && !nix::unistd::geteuid().is_root() {
        return Err(Error::new(Kind::Refused, "only root may change what this machine trusts")
            .hint("run the same command with `sudo`; `--dry-run` shows what it would do"));
    }
    changes.iter().try_for_each(|change| apply_one(root, change, run))
}

fn apply_one(root: &Path, change: &TrustChange, run: &mut dyn FnMut(&[&str]) -> Result<()>) -> Result<()> {
    match change {
        TrustChange::Foreign(_) => Ok(()),
        TrustChange::Write { path, content } => {
            let (path, dir) = (inside(root, path), inside(root, path.parent().unwrap_or(path)));
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(&dir)
                .or_error(Kind::Host, || format!("cannot make directory `{}`", dir.display()))?;
            files::replace(&path, content.as_bytes(), 0o644)
        }
        TrustChange::Remove(path) => gone(fs::remove_file(inside(root, path)), path),
        TrustChange::RemoveDirectory(path) => gone(fs::remove_dir(inside(root, path)), path),
        TrustChange::Forget(SystemStore::Debian, name) => {
            // A file that is simply gone leaves dangling links in /etc/ssl/certs, and the hook that keeps Java's store
            // is not told. Listing it as deselected, for this one run, does both.
            let config = read(root, Path::new(DEBIAN_CONFIG))?.unwrap_or_default();
            let copy = tempfile::NamedTempFile::new().or_error(Kind::Host, || "cannot make a temporary file".into())?;
            fs::write(copy.path(), format!("{}\n!{name}\n", config.trim_end()))
                .or_error(Kind::Host, || format!("cannot write `{}`", copy.path().display()))?;
            run(&[SystemStore::Debian.command(), "--certsconf", &copy.path().display().to_string()])
        }
        TrustChange::Update(store) | TrustChange::Forget(store, _) => run(&[store.command()]),
    }
}

/// What another run removed in the meantime is gone as wanted.
fn gone(result: std::io::Result<()>, path: &Path) -> Result<()> {
    match result {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(Error::new(Kind::Host, format!("cannot remove `{}`: {e}", path.display())))
        }
        _ => Ok(()),
    }
}

fn note(root: &Path, path: PathBuf, facts: &mut FileFacts) -> Result<()> {
    if let Some(content) = read(root, &path)? {
        facts.files.insert(path, content);
    }
    Ok(())
}

/// Certificates are ASCII, but people write what they like around them.
fn read(root: &Path, path: &Path) -> Result<Option<String>> {
    match fs::read(inside(root, path)) {
        Ok(content) => Ok(Some(String::from_utf8_lossy(&content).into_owned())),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(Error::new(Kind::Host, format!("cannot read `{}`: {e}", path.display()))),
    }
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn anchor(lab: &str) -> String {
    format!("lap-{lab}.crt")
}

fn is_endpoint(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        is_host(host) && port.parse::<u16>().is_ok_and(|p| p > 0)
    })
}

#[cfg(test)]
#[path = "trust_tests.rs"]
mod tests;
