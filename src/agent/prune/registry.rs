//! The registry's files, beside a registry that serves. It has no cache of them (containers/registry/config.yml), so what is not there is
//! not there for it at once.
//!
//! A push asks which layers are there, and names them later: between that, one that nobody named must not vanish unseen. So layers are
//! first set aside, by a rename. From then on a push that needs one is told that it is not there, and sends it or fails. Then all is
//! looked at once more: what was named meanwhile goes back, and only the rest is removed. The registry's own `garbage-collect` looks
//! once and needs a registry that takes no pushes, hence one that was started anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    clock::now,
    error::{Error, Kind, OrError, Result},
    plan::prune::{Blob, Manifest, Registry, Repository, Rules, unneeded},
    registry::Digest,
};

/// A push that was told before that all its layers are there has written down its image by then: that is one look at the disk for each
/// of them, and three small files.
const SETTLED: Duration = Duration::from_secs(3);
/// A repository without images is removed when nothing happened in it for so long (seconds).
const EMPTY: i64 = 600;

/// Where the registry keeps everything; `data` is its directory on the node.
fn store(data: &Path) -> PathBuf {
    data.join("docker/registry/v2")
}

/// Where layers are set aside: out of its sight, on the same file system.
fn aside(data: &Path) -> PathBuf {
    data.join(".lap-prune")
}

fn hex(digest: &str) -> Result<&str> {
    digest.parse::<Digest>()?;
    Ok(digest.trim_start_matches("sha256:"))
}

fn blob(store: &Path, hex: &str) -> PathBuf {
    store.join("blobs/sha256").join(hex.get(..2).unwrap_or_default()).join(hex)
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let what = || format!("cannot read `{}`", dir.display());
    match fs::read_dir(dir) {
        Ok(all) => all.map(|entry| entry.map(|entry| entry.path()).or_error(Kind::Node, what)).collect(),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error).or_error(Kind::Node, what),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Looks at all of it; `None`: there is no registry.
///
/// # Errors
/// Something cannot be read.
pub fn look(data: &Path) -> Result<Option<Registry>> {
    let store = store(data);
    if !store.is_dir() {
        return Ok(None);
    }
    let mut registry = Registry::default();
    let repositories = store.join("repositories");
    let mut left = vec![repositories.clone()];
    while let Some(dir) = left.pop() {
        let below = entries(&dir)?;
        if below.iter().any(|path| file_name(path).starts_with('_')) {
            let name = dir.strip_prefix(&repositories).unwrap_or(&dir).to_string_lossy().into_owned();
            registry.repositories.push(repository(&store, &dir, name, &mut registry.linked)?);
        }
        left.extend(below.into_iter().filter(|path| !file_name(path).starts_with('_') && path.is_dir()));
    }
    registry.repositories.sort_by(|a, b| a.name.cmp(&b.name));
    for group in entries(&store.join("blobs/sha256"))? {
        for dir in entries(&group)? {
            // One that is being written has none yet.
            let Ok(meta) = fs::metadata(dir.join("data")) else { continue };
            let digest = format!("sha256:{}", file_name(&dir));
            if hex(&digest).is_err() {
                continue;
            }
            registry.blobs.push(Blob { digest, size: meta.len(), since: meta.mtime() });
        }
    }
    Ok(Some(registry))
}

fn since(path: &Path) -> i64 {
    fs::metadata(path).map_or(i64::MIN, |meta| meta.mtime())
}

fn repository(store: &Path, dir: &Path, name: String, linked: &mut BTreeMap<String, i64>) -> Result<Repository> {
    let mut manifests = Vec::new();
    for algorithm in entries(&dir.join("_manifests/revisions"))? {
        for revision in entries(&algorithm)? {
            let digest = format!("{}:{}", file_name(&algorithm), file_name(&revision));
            let link = revision.join("link");
            if link.exists() {
                manifests.push(Manifest { since: since(&link), names: named(store, &digest), digest });
            }
        }
    }
    for layer in entries(&dir.join("_layers/sha256"))? {
        let known = linked.entry(format!("sha256:{}", file_name(&layer))).or_insert(i64::MIN);
        *known = (*known).max(since(&layer.join("link")));
    }
    let uploading = entries(&dir.join("_uploads"))?.iter().map(|upload| since(upload)).max();
    Ok(Repository { name, manifests, uploading })
}

/// Every digest that stands in a manifest, wherever; `None`: it is none that could be read. One that is not there names nothing.
fn named(store: &Path, digest: &str) -> Option<BTreeSet<String>> {
    let (algorithm, hex) = digest.split_once(':')?;
    let path = store.join("blobs").join(algorithm).join(hex.get(..2)?).join(hex).join("data");
    let text = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Some(BTreeSet::new()),
        text => text.ok()?,
    };
    let mut names = BTreeSet::new();
    let mut left = vec![serde_json::from_slice::<serde_json::Value>(&text).ok()?];
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

/// Removes an image from a repository, and the tags that lead to it.
///
/// # Errors
/// The disk says why.
pub fn remove(data: &Path, repository: &str, digest: &str) -> Result<()> {
    let (hex, digest) = (hex(digest)?, digest.as_bytes());
    let manifests = store(data).join("repositories").join(crate::registry::repository(repository)?).join("_manifests");
    for tag in entries(&manifests.join("tags"))? {
        let leads_there = fs::read(tag.join("current/link")).is_ok_and(|link| link == digest);
        discard(data, &if leads_there { tag } else { tag.join("index/sha256").join(hex) })?;
    }
    discard(data, &manifests.join("revisions/sha256").join(hex))
}

/// First its name, so that nobody sees half of it.
fn discard(data: &Path, path: &Path) -> Result<()> {
    let what = || format!("cannot remove `{}`", path.display());
    let gone = aside(data).join("gone");
    // Of somebody who was killed.
    let _ = fs::remove_dir_all(&gone);
    fs::create_dir_all(aside(data)).or_error(Kind::Node, what)?;
    match fs::rename(path, &gone) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        moved => moved.and_then(|()| fs::remove_dir_all(&gone)).or_error(Kind::Node, what),
    }
}

/// Removes the layers that no image names; see above.
///
/// # Errors
/// The disk says why; what was set aside is put back.
pub async fn sweep(data: &Path, rules: &Rules, tell: &(dyn Fn(&str) + Send + Sync)) -> Result<()> {
    let work = |act: fn(&Path, &Rules) -> Result<()>| {
        let (data, rules) = (data.to_owned(), *rules);
        async move {
            tokio::task::spawn_blocking(move || act(&data, &rules))
                .await
                .or_error(Kind::Other, || "the agent".into())?
        }
    };
    let swept = async {
        work(set_aside).await?;
        tell("wait for pushes that know of them");
        tokio::time::sleep(SETTLED).await;
        tell("put back what is named by now");
        work(|data, _| put_named_back(data)).await?;
        tell("remove layers");
        work(|data, _| drop_aside(data)).await
    };
    let swept = swept.await;
    if swept.is_err() {
        work(|data, _| put_all_back(data)).await?;
    }
    swept
}

fn set_aside(data: &Path, rules: &Rules) -> Result<()> {
    put_all_back(data)?;
    let Some(registry) = look(data)? else { return Ok(()) };
    let blobs = aside(data).join("blobs");
    fs::create_dir_all(&blobs).or_error(Kind::Node, || format!("cannot make `{}`", blobs.display()))?;
    let list = unneeded(&registry, rules, now()).map_err(|why| Error::new(Kind::Locked, why))?;
    for each in list {
        let hex = hex(&each.digest)?;
        move_to(&blob(&store(data), hex), &blobs.join(hex))?;
    }
    Ok(())
}

fn move_to(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).or_error(Kind::Node, || format!("cannot make `{}`", parent.display()))?;
    }
    fs::rename(from, to).or_error(Kind::Node, || format!("cannot move `{}`", from.display()))
}

fn put_named_back(data: &Path) -> Result<()> {
    let Some(registry) = look(data)? else { return Ok(()) };
    let never = Rules { keep: 0, keep_failed: 0, grace: 0 };
    for path in entries(&aside(data).join("blobs"))? {
        let mut again = registry.clone();
        again.blobs = vec![Blob { digest: format!("sha256:{}", file_name(&path)), size: 0, since: i64::MIN }];
        again.linked.clear();
        // Also when it cannot be said.
        if unneeded(&again, &never, now()).is_ok_and(|list| !list.is_empty()) {
            continue;
        }
        put_back(data, &path)?;
    }
    Ok(())
}

/// Unless somebody sent it again meanwhile.
fn put_back(data: &Path, path: &Path) -> Result<()> {
    let place = blob(&store(data), &file_name(path));
    if place.join("data").exists() { Ok(()) } else { move_to(path, &place) }
}

/// Puts back all that was set aside, when nobody is at it any more.
///
/// # Errors
/// The disk says why.
pub fn put_all_back(data: &Path) -> Result<()> {
    for path in entries(&aside(data).join("blobs"))? {
        put_back(data, &path)?;
    }
    drop_aside(data)
}

/// Whether layers are set aside.
pub fn is_set_aside(data: &Path) -> bool {
    fs::symlink_metadata(aside(data)).is_ok()
}

fn drop_aside(data: &Path) -> Result<()> {
    let aside = aside(data);
    match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).or_error(Kind::Node, || format!("cannot remove `{}`", aside.display()))
        }
        _ => Ok(()),
    }
}

/// Removes repositories of lap's that have no images and in which nothing happened for a while.
///
/// # Errors
/// The disk says why.
pub fn tidy(data: &Path) -> Result<()> {
    let Some(registry) = look(data)? else { return Ok(()) };
    for repository in registry.repositories.iter().filter(|all| all.name.starts_with("infra/")) {
        let dir = store(data).join("repositories").join(&repository.name);
        let newest = [dir.join("_manifests/revisions/sha256"), dir.join("_layers/sha256")].map(|path| since(&path));
        let quiet = newest.iter().max().is_none_or(|newest| now().saturating_sub(*newest) > EMPTY);
        if repository.manifests.is_empty() && repository.uploading.is_none() && quiet {
            discard(data, &dir)?;
            // Of the last one of its commit: only if it is empty.
            let _ = dir.parent().map(fs::remove_dir);
        }
    }
    put_all_back(data)
}
