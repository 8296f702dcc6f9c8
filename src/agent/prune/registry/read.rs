//! What is in the registry.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use lap_base::{
    beneath::{DirEntry, Walk, dir::Dir},
    error::{Error, Kind, Result},
};
use rustix::fs::FileType;

use super::store::{SMALL, hex, store};
use crate::prune::found::{Blob, ImageRepository, Registry, StoredManifest};

/// Looks at all of it; `None`: there is no registry.
///
/// # Errors
/// Something cannot be read, is a link, or there is more of it than any registry has.
pub fn read_registry(data: &Path) -> Result<Option<Registry>> {
    let Some(store) = store(data)? else { return Ok(None) };
    let (mut registry, walk) = (Registry::default(), Walk::default());
    let mut left = vec![PathBuf::new()];
    while let Some(name) = left.pop() {
        let Some(dir) = store.dir(&Path::new("repositories").join(&name))? else { continue };
        walk.may_enter(&dir, name.components().count())?;
        let below = directories(&dir, &walk)?;
        if below.iter().any(is_own) {
            let name = name.to_string_lossy().into_owned();
            registry.repositories.push(repository(&store, &dir, name, &walk, &mut registry.linked)?);
        }
        left.extend(below.into_iter().filter(|entry| !is_own(entry)).map(|entry| name.join(entry.name)));
    }
    registry.repositories.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(blobs) = store.dir(Path::new("blobs/sha256"))? {
        for group in directories(&blobs, &walk)? {
            let Some(group) = blobs.dir(Path::new(&group.name))? else { continue };
            for dir in directories(&group, &walk)? {
                let digest = format!("sha256:{}", dir.text());
                if hex(&digest).is_err() {
                    continue;
                }
                // One that is being written has none yet.
                let Some(stat) = group.metadata(&Path::new(&dir.name).join("data"))? else { continue };
                let size = u64::try_from(stat.st_size).unwrap_or_default();
                registry.blobs.push(Blob { digest, size, since: stat.st_mtime });
            }
        }
    }
    Ok(Some(registry))
}

/// The registry's own name in a repository.
fn is_own(entry: &DirEntry) -> bool {
    entry.name.as_encoded_bytes().starts_with(b"_")
}

/// The directories in one. The registry makes no links: what lies behind one would be an image that is not seen, and its layers would go.
fn directories(dir: &Dir, walk: &Walk) -> Result<Vec<DirEntry>> {
    let mut all = dir.list(walk)?;
    if let Some(link) = all.iter().find(|entry| entry.kind() == FileType::Symlink) {
        let path = dir.path().join(&link.name).to_string_lossy().escape_debug().to_string();
        return Err(Error::new(Kind::Refused, format!("`{path}` is a symbolic link, and the registry makes none"))
            .hint("nothing of the registry is removed as long as the link is there"));
    }
    all.retain(|entry| entry.kind() == FileType::Directory);
    Ok(all)
}

/// When it changed last; long ago, if it is not there.
pub(super) fn since(dir: &Dir, path: &Path) -> Result<i64> {
    Ok(dir.metadata(path)?.map_or(i64::MIN, |stat| stat.st_mtime))
}

fn below(dir: &Dir, path: &str, walk: &Walk) -> Result<Vec<(Dir, DirEntry)>> {
    let Some(dir) = dir.dir(Path::new(path))? else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for entry in directories(&dir, walk)? {
        if let Some(open) = dir.dir(Path::new(&entry.name))? {
            all.push((open, entry));
        }
    }
    Ok(all)
}

fn repository(
    store: &Dir,
    dir: &Dir,
    name: String,
    walk: &Walk,
    linked: &mut BTreeMap<String, i64>,
) -> Result<ImageRepository> {
    let mut manifests = Vec::new();
    for (algorithm, named) in below(dir, "_manifests/revisions", walk)? {
        for revision in directories(&algorithm, walk)? {
            let digest = format!("{}:{}", named.text(), revision.text());
            if let Some(link) = algorithm.metadata(&Path::new(&revision.name).join("link"))? {
                manifests.push(StoredManifest { since: link.st_mtime, names: names(store, &digest)?, digest });
            }
        }
    }
    if let Some(layers) = dir.dir(Path::new("_layers/sha256"))? {
        for layer in directories(&layers, walk)? {
            let known = linked.entry(format!("sha256:{}", layer.text())).or_insert(i64::MIN);
            *known = (*known).max(since(&layers, &Path::new(&layer.name).join("link"))?);
        }
    }
    let uploads = dir.dir(Path::new("_uploads"))?.map(|uploads| directories(&uploads, walk)).transpose()?;
    let uploading = uploads.iter().flatten().map(|upload| upload.stat.st_mtime).max();
    Ok(ImageRepository { name, manifests, uploading })
}

/// Every digest that stands in a manifest, wherever; `None`: it is none that could be read. One that is not there names nothing.
fn names(store: &Dir, digest: &str) -> Result<Option<BTreeSet<String>>> {
    let Some((algorithm, hex)) = digest.split_once(':') else { return Ok(None) };
    let Some(group) = hex.get(..2) else { return Ok(None) };
    let path = Path::new("blobs").join(algorithm).join(group).join(hex).join("data");
    // A FIFO, or more than any manifest has, is none that can be read.
    let text = match store.read(&path, SMALL) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(Some(BTreeSet::new())),
        Err(error) if error.kind == Kind::Refused => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(digests(&text))
}

fn digests(text: &[u8]) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut left = vec![serde_json::from_slice::<serde_json::Value>(text).ok()?];
    while let Some(value) = left.pop() {
        match value {
            serde_json::Value::String(text) => drop(names.insert(text)),
            serde_json::Value::Array(all) => left.extend(all),
            serde_json::Value::Object(all) => left.extend(all.into_iter().map(|(_, value)| value)),
            _ => {}
        }
    }
    names.retain(|name| name.contains(':'));
    Some(names)
}
