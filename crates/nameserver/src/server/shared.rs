//! What every socket's handler sees: the zones, the keys, who may what, and the way to the store.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        mpsc::{SyncSender, TrySendError},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use hickory_server::proto::rr::Name;
use lap_base::{Error, Kind, Result};

use super::{
    access::Networks,
    audit::Audit,
    forward::{Completed, Forwarder},
    handle::{Disposition, RequestContext, handle},
    keyring::Keyring,
    limit::Limit,
    load,
    metrics::{By, Metrics},
    reply::Transport,
    store::{StoreJob, Update, unix},
    tsig::{Signed, Signer},
    update::UpdateRequest,
    wire::rcode,
    zones::{Lookup, Zones},
};
use crate::names::Names;

/// How answers are made, beside the zones and the keys. Replaced as a whole.
pub struct AnswerPolicy {
    /// `None`: there are no upstreams.
    pub forward: Option<Arc<Forwarder>>,
    pub clients: Networks,
    pub secondaries: Vec<SocketAddr>,
    upstreams: Vec<SocketAddr>,
    domains: Vec<(String, Vec<SocketAddr>)>,
}

impl AnswerPolicy {
    /// From `names.json`. With the same upstreams the cache stays. `own`: where this server listens, which is not an
    /// upstream even if the file says so.
    pub fn new(
        names: &Names,
        own: &[SocketAddr],
        before: Option<&Self>,
        audit: &Audit,
        metrics: &Arc<Metrics>,
    ) -> Result<Self> {
        let mut upstreams = names.upstreams.clone();
        upstreams.retain(|upstream| {
            let other = !own.contains(upstream);
            if !other {
                audit.say(&format!("upstream `{upstream}` is this server itself, ignored"));
            }
            other
        });
        let domains: Vec<_> = names.forward.clone().into_iter().collect();
        let forward = match before {
            Some(before) if (&before.upstreams, &before.domains) == (&upstreams, &domains) => before.forward.clone(),
            _ if upstreams.is_empty() && domains.is_empty() => None,
            _ => Some(Arc::new(Forwarder::new(&upstreams, &domains)?.counting_in(metrics.clone()))),
        };
        let clients = match &names.clients {
            None => Networks::private(),
            Some(list) => {
                Networks::parse(list).map_err(|e| Error::new(Kind::Config, format!("names.json: clients: {e}")))?
            }
        };
        Ok(Self { forward, clients, secondaries: names.secondaries.clone(), upstreams, domains })
    }
}

/// One server's.
pub struct Shared {
    pub zones: Arc<RwLock<Zones>>,
    pub policy: ArcSwap<AnswerPolicy>,
    pub keys: ArcSwap<Keyring>,
    pub audit: Arc<Audit>,
    pub metrics: Arc<Metrics>,
    /// What the metric `build_info` says of the program.
    pub build: String,
    pub limit: Limit,
    pub started: Instant,
    pub jobs: SyncSender<StoreJob>,
    /// `names.json`
    pub names: PathBuf,
    pub own: Vec<SocketAddr>,
}

impl Shared {
    /// The zones as they are now. Hold it shortly: a change waits for it.
    pub fn zones(&self) -> RwLockReadGuard<'_, Zones> {
        self.zones.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives what messages are judged by. Do little with it: a change waits for it.
    pub fn with_rules<T>(&self, then: impl FnOnce(RequestContext) -> T) -> T {
        let (zones, policy, keys) = (self.zones(), self.policy.load(), self.keys.load());
        let recursion = policy.forward.is_some();
        then(RequestContext { zones: &zones, keys: &keys, clients: &policy.clients, recursion, audit: &self.audit })
    }

    /// Judges one message; see [`handle`].
    pub fn handle(&self, message: &[u8], client: IpAddr, transport: Transport, out: &mut Vec<u8>) -> Disposition {
        self.with_rules(|rules| handle(rules, message, client, transport, out))
    }

    /// Has a draft for `client` completed by the upstreams, and signed; `since`: when its question came. `None`: there are none any more.
    pub async fn forward(
        &self,
        draft: &[u8],
        limit: usize,
        client: IpAddr,
        signer: Option<Signer>,
        since: Instant,
    ) -> Option<Vec<u8>> {
        let forward = self.policy.load().forward.clone()?;
        let ours = |name: &Name| self.is_ours(name);
        let Completed { mut reply, over_quota } = forward.complete(draft, limit, client, &ours).await;
        if over_quota {
            self.metrics.common().forwards_refused.add(1);
            self.audit.over_quota(client, "a forwarded query: too many are in progress");
        }
        if let Some(mut signer) = signer {
            signer.sign(&mut reply, unix());
        }
        self.metrics.common().response(&reply);
        self.metrics.common().took(By::Upstreams, since.elapsed(), 1);
        Some(reply)
    }

    /// Whether a name is in a zone of ours.
    fn is_ours(&self, name: &Name) -> bool {
        let mut wire = Vec::with_capacity(name.len() + 1);
        for label in name.iter() {
            wire.push(label.len() as u8);
            wire.extend(label.iter().map(u8::to_ascii_lowercase));
        }
        wire.push(0);
        !matches!(self.zones().find(&wire), Lookup::Outside)
    }

    /// Gives an update to the store; `send` gets the signed reply made of `draft` once it holds. `since`: when it came.
    pub fn update(
        &self,
        request: UpdateRequest,
        signed: Signed,
        client: IpAddr,
        draft: Vec<u8>,
        since: Instant,
        send: impl FnOnce(Vec<u8>) + Send + 'static,
    ) {
        let metrics = self.metrics.clone();
        let answer = move |code: u16, mut signed: Signed| {
            let mut reply = draft;
            reply[3] |= code as u8;
            signed.signer.sign(&mut reply, unix());
            metrics.common().response(&reply);
            metrics.common().took(By::Store, since.elapsed(), 1);
            send(reply);
        };
        let update = Update { request, signed, client, answer: Box::new(answer) };
        if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) =
            self.jobs.try_send(StoreJob::Update(update))
            && let StoreJob::Update(update) = job
        {
            (update.answer)(rcode::SERVFAIL, update.signed);
        }
    }

    /// Takes over a new `names.json`; gives a summary for the log.
    ///
    /// # Errors
    /// It is no good: nothing changes.
    pub fn reload(&self) -> Result<String> {
        let names = load::read(&self.names)?;
        let zones = load::zones(&names, 1)?;
        let policy = AnswerPolicy::new(&names, &self.own, Some(&self.policy.load()), &self.audit, &self.metrics)?;
        let summary = summary(&names, &zones);
        self.policy.store(policy.into());
        let _ = self.jobs.send(StoreJob::Reload(Box::new(zones)));
        Ok(summary)
    }

    /// Takes over a new file of keys.
    ///
    /// # Errors
    /// It is no good: nothing changes.
    pub fn reload_keys(&self, file: &Path) -> Result<String> {
        let keys = Keyring::read(file)?;
        let summary = format!("keys: {}", keys.len());
        self.keys.store(keys.into());
        Ok(summary)
    }
}

/// For the log.
pub fn summary(names: &Names, zones: &Zones) -> String {
    let (count, zones) = zones.counts();
    format!("`{}`, names: {count}, zones: {zones}, upstreams: {}", names.zone, names.upstreams.len())
}
