//! Images, from one registry to another.
//!
//! The order is what makes it safe to kill: layers first, then the manifest, the tag last. Until its manifest is there nobody can
//! name an image, and what has arrived is found by the next run, which goes on from there.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use hyper::{
    Method, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use lap_base::{error::Result, words::bytes};
use serde::Serialize;

use super::{
    blob::{self, Travel},
    client::{RegistryClient, nothing, whole},
    fault::{RegistryFault, persist},
    manifest::{self, Descriptor, ImageManifest, KINDS},
    name::{self, Digest},
};
use crate::report::LineSink;

/// Blobs that travel at the same time: enough that one's last word does not keep the others waiting.
const AT_ONCE: usize = 3;
/// What `lap up` gives every image it pushes; for people, who cannot remember digests.
const TAG: &str = "latest";
/// An index of indexes of images is as deep as it gets.
const DEEP: usize = 3;
/// Progress is told after so many bytes.
const TELL: u64 = 1 << 20;

/// An image to be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageToCopy {
    /// Repository it comes from, e.g. `infra/<commit>/git`.
    pub source: String,
    /// Repository it goes to.
    pub target: String,
    /// Its manifest's, which it keeps.
    pub digest: String,
}

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TransferStats {
    /// Bytes of blobs and manifests that went to the target, those of tries that broke off too.
    pub bytes: u64,
    /// Blobs that were sent.
    pub blobs: usize,
    /// Blobs that another repository of the target had.
    pub mounted: usize,
    /// Blobs that were there.
    pub present: usize,
}

/// Copies images; `mount_from` are repositories of the target that may have some of their blobs.
///
/// # Errors
/// A registry does not answer, breaks off again and again, or refuses; an image is not there. Whatever has arrived stays, and
/// the next run does not send it again.
pub async fn copy(
    from: &RegistryClient,
    to: &RegistryClient,
    images: &[ImageToCopy],
    mount_from: &[String],
    line: &LineSink<'_>,
) -> Result<TransferStats> {
    let mut checked = Vec::new();
    for image in images {
        let digest: Digest = image.digest.parse()?;
        checked.push((name::repository(&image.source)?, name::repository(&image.target)?, digest));
    }
    for repository in mount_from {
        name::repository(repository)?;
    }
    let mover = Mover { from, to, mount_from, line, known: Mutex::default(), copied: Mutex::default() };
    for (source, target, digest) in &checked {
        let image = Names { source, target };
        let (kind, body) = mover.image(image, digest, DEEP).await?;
        mover.put(image, TAG, &kind, &body).await?;
    }
    Ok(*mover.copied())
}

/// The repositories of the image that is being copied.
#[derive(Clone, Copy)]
struct Names<'a> {
    source: &'a str,
    target: &'a str,
}

struct Mover<'a> {
    from: &'a RegistryClient,
    to: &'a RegistryClient,
    mount_from: &'a [String],
    line: &'a LineSink<'a>,
    /// Which of the target's repositories has a blob, as far as it is known.
    known: Mutex<BTreeMap<Digest, String>>,
    copied: Mutex<TransferStats>,
}

type Done<'f, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'f>>;

impl Mover<'_> {
    /// Brings an image, all it consists of first; gives the manifest's kind and bytes.
    fn image<'f>(&'f self, image: Names<'f>, digest: &'f Digest, deep: usize) -> Done<'f, (String, Bytes)> {
        Box::pin(async move {
            let (kind, body) = persist(|| 0, || self.manifest(image.source, digest)).await?;
            match manifest::read(digest, &body)? {
                ImageManifest::Image(parts) => {
                    stream::iter(parts.iter().map(Ok))
                        .try_for_each_concurrent(AT_ONCE, |part| self.blob(image, part))
                        .await?;
                }
                ImageManifest::Index(parts) if deep > 1 => {
                    for part in &parts {
                        self.image(image, &part.digest, deep - 1).await?;
                    }
                }
                ImageManifest::Index(_) => {
                    return Err(RegistryFault::refused(format!(
                        "`{}` is an index of indexes of indexes",
                        image.source
                    ))
                    .error);
                }
            }
            if !self.has_manifest(image.target, &digest.to_string()).await? {
                self.put(image, &digest.to_string(), &kind, &body).await?;
            }
            Ok((kind, body))
        })
    }

    /// The source's manifest: its kind, and its bytes, which are what the digest says.
    async fn manifest(&self, repository: &str, digest: &Digest) -> Result<(String, Bytes), RegistryFault> {
        let path = format!("/v2/{repository}/manifests/{digest}");
        let kinds = KINDS.join(", ");
        let answer = self.from.ask(Method::GET, &path, &[(ACCEPT, &kinds)], nothing(), manifest::MOST).await?;
        match answer.status {
            StatusCode::OK if Digest::of(&answer.body) == *digest => {
                let kind = answer.header(&CONTENT_TYPE).unwrap_or(KINDS[0]).to_owned();
                Ok((kind, answer.body))
            }
            StatusCode::OK => {
                let message =
                    format!("{} has a damaged manifest {} of `{repository}`", self.from.name(), digest.short());
                Err(RegistryFault::refused(message))
            }
            StatusCode::NOT_FOUND => {
                Err(RegistryFault::refused(format!("{} has no image `{repository}@{digest}`", self.from.name())))
            }
            _ => Err(answer.fault("does not send a manifest")),
        }
    }

    async fn has_manifest(&self, repository: &str, reference: &str) -> Result<bool> {
        let (path, kinds) = (format!("/v2/{repository}/manifests/{reference}"), KINDS.join(", "));
        let ask = || async {
            let answer = self.to.ask(Method::HEAD, &path, &[(ACCEPT, &kinds)], nothing(), manifest::MOST).await?;
            match answer.status {
                StatusCode::OK => Ok(true),
                StatusCode::NOT_FOUND => Ok(false),
                _ => Err(answer.fault("does not report its content")),
            }
        };
        persist(|| 0, ask).await
    }

    /// Puts a manifest under a digest or a tag. Doing it again changes nothing.
    async fn put(&self, image: Names<'_>, reference: &str, kind: &str, body: &Bytes) -> Result<()> {
        let path = format!("/v2/{}/manifests/{reference}", image.target);
        let put = || async {
            self.copied().bytes += body.len() as u64;
            let headers = [(CONTENT_TYPE, kind)];
            let answer = self.to.ask(Method::PUT, &path, &headers, whole(body.clone()), manifest::MOST).await?;
            if answer.status == StatusCode::CREATED { Ok(()) } else { Err(answer.fault("refuses a manifest")) }
        };
        persist(|| 0, put).await
    }

    /// Brings one blob, in the cheapest way there is.
    async fn blob(&self, image: Names<'_>, part: &Descriptor) -> Result<()> {
        if persist(|| 0, || blob::is_there(self.to, image.target, &part.digest)).await? {
            self.copied().present += 1;
        } else {
            let mount = self.elsewhere(image, &part.digest).await?;
            let travel = Travel::new();
            let sent = persist(|| travel.moved(), || self.bring(image, part, mount.as_deref(), &travel)).await?;
            let mut copied = self.copied();
            if sent { copied.blobs += 1 } else { copied.mounted += 1 }
        }
        self.known().insert(part.digest.clone(), image.target.to_owned());
        Ok(())
    }

    /// A repository of the target that has it.
    async fn elsewhere(&self, image: Names<'_>, digest: &Digest) -> Result<Option<String>> {
        if let Some(known) = self.known().get(digest) {
            return Ok(Some(known.clone()));
        }
        // The same image's earlier release has most of them.
        let last = |name: &str| name.rsplit('/').next().map(str::to_owned);
        let (near, far): (Vec<&String>, Vec<&String>) =
            self.mount_from.iter().partition(|name| last(name) == last(image.target));
        for repository in near.into_iter().chain(far).filter(|name| *name != image.target) {
            if persist(|| 0, || blob::is_there(self.to, repository, digest)).await? {
                return Ok(Some(repository.clone()));
            }
        }
        Ok(None)
    }

    /// One try; `false`: it was mounted.
    async fn bring(
        &self,
        image: Names<'_>,
        part: &Descriptor,
        mount: Option<&str>,
        travel: &Arc<Travel>,
    ) -> Result<bool, RegistryFault> {
        let mount = mount.map(|from| (from, &part.digest));
        let Some(location) = blob::begin(self.to, image.target, mount).await? else { return Ok(false) };
        let before = travel.moved();
        let told = AtomicU64::new(0);
        let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let moved = move |more: u64| {
            let _ = sender.send(more);
        };
        let short = image.target.rsplit('/').next().unwrap_or(image.target);
        let tell = |more: u64| {
            let now = told.fetch_add(more, Ordering::Relaxed) + more;
            if now / TELL > (now - more) / TELL {
                (self.line)(&format!("{short}: {} of {}", bytes(now), bytes(part.size)));
            }
        };
        let from = (self.from, image.source);
        let travelled = {
            let work = blob::travel(from, (self.to, &location), part, travel, moved);
            tokio::pin!(work);
            loop {
                tokio::select! {
                    result = &mut work => break result,
                    Some(more) = heard.recv() => tell(more),
                }
            }
        };
        self.copied().bytes += travel.moved() - before;
        travelled.map(|()| true)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Digest, String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn copied(&self) -> MutexGuard<'_, TransferStats> {
        self.copied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
