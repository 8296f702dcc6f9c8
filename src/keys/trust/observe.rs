//! What this machine trusts already.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use lap_base::{Error, Kind, Result, label::is_label};

use super::machine::{
    DEBIAN_CONFIG, DOCKER, DOCKER_FILE, FEDORA_ANCHORS, FileFacts, SystemStore, TrustInputs, anchor, inside,
};
use crate::keys::ssh::is_host;

const DEBIAN_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
const FEDORA_BUNDLE: &str = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem";

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
        let ours = store.anchors().join(anchor(&inputs.lab));
        for other in list(root, store.anchors()).into_iter().filter(|p| *p != ours) {
            facts.elsewhere |= read(root, &other)?.is_some_and(|c| c.contains(&inputs.certificate));
        }
        note(root, ours, &mut facts)?;
    }
    let mut places: BTreeSet<PathBuf> = inputs.registries.iter().map(|r| Path::new(DOCKER).join(r)).collect();
    places.extend(list(root, Path::new(DOCKER)));
    for place in places {
        let (entries, file) = (list(root, &place), place.join(DOCKER_FILE));
        if entries == [file.clone()] {
            facts.disposable.insert(place);
        }
        note(root, file, &mut facts)?;
    }
    Ok(facts)
}

fn note(root: &Path, path: PathBuf, facts: &mut FileFacts) -> Result<()> {
    if let Some(content) = read(root, &path)? {
        facts.files.insert(path, content);
    }
    Ok(())
}

/// Certificates are ASCII, but people write what they like around them.
pub(super) fn read(root: &Path, path: &Path) -> Result<Option<String>> {
    match fs::read(inside(root, path)) {
        Ok(content) => Ok(Some(String::from_utf8_lossy(&content).into_owned())),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory) => {
            Ok(None)
        }
        Err(e) => Err(Error::new(Kind::Host, format!("cannot read `{}`: {e}", path.display()))),
    }
}

/// What is in a directory, sorted, as seen from the machine's root; nothing when there is none.
fn list(root: &Path, dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(inside(root, dir)).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|e| dir.join(e.file_name())).collect();
    paths.sort();
    paths
}

fn is_endpoint(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        is_host(host) && port.parse::<u16>().is_ok_and(|p| p > 0)
    })
}
