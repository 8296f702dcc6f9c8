//! One blob of an image: is it there, can it be mounted, and the way from one registry to the other.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    Method, StatusCode, Uri,
    body::Frame,
    header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RANGE},
};
use lap_base::error::Result;

use super::{
    client::{PATIENCE, RegistryClient, RegistryReply, nothing},
    fault::{RegistryFault, persist},
    manifest::Descriptor,
    name::Digest,
};

/// An answer that says why something is refused is not longer.
const WORDS: usize = 64 << 10;

/// Whether `repository` has it.
pub async fn is_there(client: &RegistryClient, repository: &str, digest: &Digest) -> Result<bool, RegistryFault> {
    let path = format!("/v2/{repository}/blobs/{digest}");
    let answer = client.ask(Method::HEAD, &path, &[], nothing(), WORDS).await?;
    match answer.status {
        StatusCode::OK => Ok(true),
        StatusCode::NOT_FOUND => Ok(false),
        _ => Err(answer.fault("does not report its content")),
    }
}

/// Where bytes of a new blob go; `None`: it is there already, mounted from `mount`.
pub async fn begin(
    client: &RegistryClient,
    repository: &str,
    mount: Option<(&str, &Digest)>,
) -> Result<Option<String>, RegistryFault> {
    let mut path = format!("/v2/{repository}/blobs/uploads/");
    if let Some((from, digest)) = mount {
        path.push_str(&format!("?mount={digest}&from={from}"));
    }
    let answer = client.ask(Method::POST, &path, &[(CONTENT_LENGTH, "0")], nothing(), WORDS).await?;
    match answer.status {
        StatusCode::CREATED if mount.is_some() => Ok(None),
        StatusCode::ACCEPTED => {
            let location = answer.header(&LOCATION).and_then(|text| text.parse::<Uri>().ok());
            // Some registries say their whole address there, maybe one that cannot be reached from here.
            let path = location.as_ref().and_then(Uri::path_and_query).map(|path| path.as_str().to_owned());
            path.map(Some).ok_or_else(|| answer.fault("does not report the location for a layer"))
        }
        _ => Err(answer.fault("refuses a layer")),
    }
}

/// What happens while a blob travels.
pub struct Travel {
    /// Bytes that were read, over all tries.
    moved: AtomicU64,
    /// The next bytes are waited for: whoever writes has nothing to say.
    reading: AtomicBool,
    /// What stopped the reading: more than that the writing stopped.
    fault: Mutex<Option<RegistryFault>>,
}

impl Travel {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { moved: AtomicU64::new(0), reading: AtomicBool::new(false), fault: Mutex::new(None) })
    }

    /// Bytes that were read, over all tries.
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    fn fault(&self) -> std::sync::MutexGuard<'_, Option<RegistryFault>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a blob and writes it to `location`, a piece at a time. `moved` is told the bytes as they pass.
pub async fn travel(
    (from, source): (&RegistryClient, &str),
    (to, location): (&RegistryClient, &str),
    part: &Descriptor,
    travel: &Arc<Travel>,
    moved: impl Fn(u64) + Send + Sync + 'static,
) -> Result<(), RegistryFault> {
    *travel.fault() = None;
    let reading = Reading {
        client: from.clone(),
        path: format!("/v2/{source}/blobs/{}", part.digest),
        part: part.clone(),
        at: 0,
        reply: None,
        travel: travel.clone(),
        moved: Box::new(moved),
    };
    let body = StreamBody::new(stream::try_unfold(reading, Reading::next)).boxed_unsync();
    let joint = if location.contains('?') { '&' } else { '?' };
    let path = format!("{location}{joint}digest={}", part.digest);
    let length = part.size.to_string();
    let headers = [(CONTENT_LENGTH, length.as_str()), (CONTENT_TYPE, "application/octet-stream")];
    let sent = tokio::select! {
        sent = async { to.send(Method::PUT, &path, &headers, body).await?.whole(WORDS).await } => sent,
        () = stalled(travel) => Err(to.silent()),
    };
    if let Some(fault) = travel.fault().take() {
        return Err(fault);
    }
    let answer = sent?;
    match answer.status {
        StatusCode::CREATED => Ok(()),
        StatusCode::BAD_REQUEST if answer.body.windows(14).any(|words| words == b"DIGEST_INVALID") => {
            let message = format!("{} has a damaged layer {}: its bytes differ", from.name(), part.digest.short());
            Err(RegistryFault::refused(message))
        }
        // The state of an upload does not outlive the registry's process: begun anew.
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST | StatusCode::RANGE_NOT_SATISFIABLE => {
            Err(RegistryFault { again: true, ..answer.fault("lost an upload") })
        }
        _ => Err(answer.fault("refuses a layer")),
    }
}

/// Returns when nothing moved for a while.
async fn stalled(travel: &Travel) {
    let mut before = None;
    loop {
        let now = travel.moved();
        if before == Some(now) && !travel.reading.load(Ordering::Relaxed) {
            return;
        }
        before = Some(now);
        tokio::time::sleep(PATIENCE).await;
    }
}

/// A blob that is being read. When its registry breaks off it goes on where it was, and who writes does not notice.
struct Reading {
    client: RegistryClient,
    path: String,
    part: Descriptor,
    at: u64,
    reply: Option<RegistryReply>,
    travel: Arc<Travel>,
    moved: Box<dyn Fn(u64) + Send + Sync>,
}

impl Reading {
    async fn next(mut self) -> io::Result<Option<(Frame<Bytes>, Self)>> {
        if self.at == self.part.size {
            // Its end is read too, so that the connection can be used again.
            if let Some(mut reply) = self.reply.take()
                && matches!(reply.next().await, Ok(None))
            {
                reply.done();
            }
            return Ok(None);
        }
        self.travel.reading.store(true, Ordering::Relaxed);
        let (at, reply) = (self.at, Mutex::new(self.reply.take()));
        let take = || reply.lock().unwrap_or_else(PoisonError::into_inner).take();
        let piece = persist(
            || 0,
            || {
                let open = take();
                let this = &self;
                async move {
                    let mut open = match open {
                        Some(open) => open,
                        None => this.open(at).await?,
                    };
                    match open.next().await? {
                        Some(bytes) => Ok((bytes, open)),
                        None => Err(RegistryFault::broken(format!("{} is incomplete", this.client.name()))),
                    }
                }
            },
        )
        .await;
        self.travel.reading.store(false, Ordering::Relaxed);
        let (bytes, reply) =
            piece.map_err(|error| self.failed(RegistryFault { again: false, ..RegistryFault::from(error) }))?;
        self.reply = Some(reply);
        self.at += bytes.len() as u64;
        if self.at > self.part.size {
            let message = format!("{} has a layer {} that is too long", self.client.name(), self.part.digest.short());
            return Err(self.failed(RegistryFault::refused(message)));
        }
        self.travel.moved.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        (self.moved)(bytes.len() as u64);
        Ok(Some((Frame::data(bytes), self)))
    }

    fn failed(&self, fault: RegistryFault) -> io::Error {
        let error = io::Error::other(fault.error.message.clone());
        *self.travel.fault() = Some(fault);
        error
    }

    /// Opens it at a byte.
    async fn open(&self, at: u64) -> Result<RegistryReply, RegistryFault> {
        let range = format!("bytes={at}-");
        let headers = [(RANGE, range.as_str())];
        let headers = if at == 0 { &headers[..0] } else { &headers };
        let reply = self.client.send(Method::GET, &self.path, headers, nothing()).await?;
        match reply.status() {
            StatusCode::OK if at > 0 => {
                Err(RegistryFault::refused(format!("{} cannot continue a layer", self.client.name())))
            }
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(reply),
            StatusCode::NOT_FOUND => {
                let message = format!("{} does not have the layer {}", self.client.name(), self.part.digest.short());
                Err(RegistryFault::refused(message))
            }
            _ => Err(reply.whole(WORDS).await?.fault("does not send a layer")),
        }
    }
}
