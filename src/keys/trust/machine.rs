//! The stores of certificate authorities on a machine, and the changes of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};

pub(super) const DEBIAN_ANCHORS: &str = "/usr/local/share/ca-certificates";

pub(super) const DEBIAN_CONFIG: &str = "/etc/ca-certificates.conf";

pub(super) const FEDORA_ANCHORS: &str = "/etc/pki/ca-trust/source/anchors";

pub(super) const DOCKER: &str = "/etc/docker/certs.d";

/// dockerd takes every `*.crt` beside it as an authority.
pub(super) const DOCKER_FILE: &str = "ca.crt";

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
    pub(super) fn command(self) -> &'static str {
        match self {
            Self::Debian => "update-ca-certificates",
            Self::Fedora => "update-ca-trust",
        }
    }

    pub(super) fn anchors(self) -> &'static Path {
        Path::new(match self {
            Self::Debian => DEBIAN_ANCHORS,
            Self::Fedora => FEDORA_ANCHORS,
        })
    }
}

pub(super) fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

pub(super) fn anchor(lab: &str) -> String {
    format!("lap-{lab}.crt")
}
