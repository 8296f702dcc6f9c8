//! The registry's files, beside a registry that serves. It has no cache of them (containers/registry/read.yml), so what is not there is
//! not there for it at once.
//!
//! A push asks which layers are there, and names them later: between that, one that nobody named must not vanish unseen. So layers are
//! first set aside, by a rename. From then on a push that needs one is told that it is not there, and sends it or fails. Then all is
//! looked at once more: what was named meanwhile goes back, and only the rest is removed. The registry's own `garbage-collect` looks
//! once and needs a registry that takes no pushes, hence one that was started anew.
//!
//! The registry may change its data at any time, so every file is reached by [`lap_base::beneath`]. What is set aside lies beside the data of
//! all containers, where the registry does not see it:
//!
//! ```text
//! /data/.lap-prune/blobs/<hex>   layers that are set aside; the name says where each belongs
//! /data/.lap-prune/gone          what is being removed
//! ```

use std::{path::Path, time::Duration};

use lap_base::{
    clock::now,
    error::{Error, Kind, OrError, Result},
};

use super::{
    aside::{self, Aside, drop_aside, in_order_of, put_all_back},
    read::{read_registry, since},
    store::{SMALL, hex, store},
};
use crate::{
    prune::{Blob, unneeded},
    wire::prune::PruneRules,
};

/// A push that was told before that all its layers are there has written down its image by then: that is one look at the disk for each
/// of them, and three small files.
const SETTLED: Duration = Duration::from_secs(3);
/// A repository without images is removed when nothing happened in it for so long (seconds).
const EMPTY: i64 = 600;

/// Removes an image from a repository, and the tags that lead to it.
///
/// # Errors
/// The disk says why.
pub fn remove(data: &Path, repository: &str, digest: &str) -> Result<()> {
    let (hex, digest) = (hex(digest)?, digest.as_bytes());
    let manifests = Path::new("repositories").join(crate::registry::repository(repository)?).join("_manifests");
    let Some(store) = store(data)? else { return Ok(()) };
    let Some(manifests) = store.dir(&manifests)? else { return Ok(()) };
    let aside = Aside::make(data)?;
    let walk = lap_base::beneath::Walk::default();
    if let Some(tags) = manifests.dir(Path::new("tags"))? {
        for tag in tags.list(&walk)? {
            let name = Path::new(&tag.name);
            let leads_there = tags.read(&name.join("current/link"), SMALL)?.is_some_and(|link| link == digest);
            if leads_there {
                aside.discard(&tags, &tag.name)?;
            } else if let Some(index) = tags.dir(&name.join("index/sha256"))? {
                aside.discard(&index, hex.as_ref())?;
            }
        }
    }
    if let Some(revisions) = manifests.dir(Path::new("revisions/sha256"))? {
        aside.discard(&revisions, hex.as_ref())?;
    }
    aside.drop_if_empty();
    Ok(())
}

/// Removes the layers that no image names; see above.
///
/// # Errors
/// The disk says why; what was set aside is put back.
pub async fn sweep(data: &Path, rules: &PruneRules, tell: &(dyn Fn(&str) + Send + Sync)) -> Result<()> {
    let work = |act: fn(&Path, &PruneRules) -> Result<()>| {
        let (data, rules) = (data.to_owned(), *rules);
        async move {
            tokio::task::spawn_blocking(move || act(&data, &rules))
                .await
                .or_error(Kind::Other, || "the agent".into())?
        }
    };
    let swept = async {
        work(set_aside).await?;
        tell("wait for pushes that rely on them");
        tokio::time::sleep(SETTLED).await;
        tell("put back layers that an image needs now");
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

fn set_aside(data: &Path, rules: &PruneRules) -> Result<()> {
    put_all_back(data)?;
    let Some(registry) = read_registry(data)? else { return Ok(()) };
    let Some(store) = store(data)? else { return Ok(()) };
    let list = unneeded(&registry, rules, now()).map_err(|why| Error::new(Kind::Locked, why))?;
    let blobs = Aside::make(data)?.blobs()?;
    for each in list {
        let hex = hex(&each.digest)?;
        if let Some(group) = store.dir(&in_order_of(hex))? {
            group.rename(hex.as_ref(), &blobs, hex.as_ref())?;
        }
    }
    Ok(())
}

fn put_named_back(data: &Path) -> Result<()> {
    let Some(registry) = read_registry(data)? else { return Ok(()) };
    let never = PruneRules { keep: 0, keep_failed: 0, grace: 0 };
    aside::put_back(data, |hex| {
        let mut again = registry.clone();
        again.blobs = vec![Blob { digest: format!("sha256:{hex}"), size: 0, since: i64::MIN }];
        again.linked.clear();
        // Also when it cannot be said.
        !unneeded(&again, &never, now()).is_ok_and(|list| !list.is_empty())
    })
}

/// Removes repositories of lap's that have no images and in which nothing happened for a while.
///
/// # Errors
/// The disk says why.
pub fn tidy(data: &Path) -> Result<()> {
    let (Some(registry), Some(store)) = (read_registry(data)?, store(data)?) else { return Ok(()) };
    for repository in registry.repositories.iter().filter(|all| all.name.starts_with("infra/")) {
        let (above, name) = lap_base::beneath::split(Path::new(&repository.name))?;
        let Some(above_it) = store.dir(&Path::new("repositories").join(above))? else { continue };
        let mut newest = i64::MIN;
        for part in ["_manifests/revisions/sha256", "_layers/sha256"] {
            newest = newest.max(since(&above_it, &Path::new(name).join(part))?);
        }
        let quiet = now().saturating_sub(newest) > EMPTY;
        if repository.manifests.is_empty() && repository.uploading.is_none() && quiet {
            Aside::make(data)?.discard(&above_it, name)?;
            // Of the last one of its commit: only if it is empty.
            let (higher, commit) = lap_base::beneath::split(above)?;
            if let Some(higher) = store.dir(&Path::new("repositories").join(higher))? {
                let _ = higher.remove_empty(commit);
            }
        }
    }
    put_all_back(data)
}
