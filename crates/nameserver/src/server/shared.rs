//! The state that all sockets share: the zones, the keys, the policy, and the queue of the store.

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

/// The rules for answers, except for zones and keys. A reload replaces them as a whole.
pub struct AnswerPolicy {
    /// `None` means that there are no upstream servers.
    pub forward: Option<Arc<Forwarder>>,
    pub clients: Networks,
    pub secondaries: Vec<SocketAddr>,
    upstreams: Vec<SocketAddr>,
    domains: Vec<(String, Vec<SocketAddr>)>,
}

impl AnswerPolicy {
    /// Makes the policy of `names.json`. If the upstream servers have not changed, it keeps the cache of `before`. The
    /// addresses `own` of this server are ignored as upstream servers, because they would make a loop.
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

/// The shared state of one server.
pub struct Shared {
    pub zones: Arc<RwLock<Zones>>,
    pub policy: ArcSwap<AnswerPolicy>,
    pub keys: ArcSwap<Keyring>,
    pub audit: Arc<Audit>,
    pub metrics: Arc<Metrics>,
    /// The value of the label that the metric `build_info` shows for this program.
    pub build: String,
    pub limit: Limit,
    pub started: Instant,
    pub jobs: SyncSender<StoreJob>,
    /// The path of `names.json`.
    pub names: PathBuf,
    pub own: Vec<SocketAddr>,
}

impl Shared {
    /// Returns the present zones, with a read lock. Hold it only for a short time, because changes wait for it.
    pub fn zones(&self) -> RwLockReadGuard<'_, Zones> {
        self.zones.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `then` with the present zones, keys and policy. `then` must be short, because changes wait for the read
    /// lock.
    pub fn with_rules<T>(&self, then: impl FnOnce(RequestContext) -> T) -> T {
        let (zones, policy, keys) = (self.zones(), self.policy.load(), self.keys.load());
        let recursion = policy.forward.is_some();
        then(RequestContext { zones: &zones, keys: &keys, clients: &policy.clients, recursion, audit: &self.audit })
    }

    /// Handles one message (see [`handle`]).
    pub fn handle(&self, message: &[u8], client: IpAddr, transport: Transport, out: &mut Vec<u8>) -> Disposition {
        self.with_rules(|rules| handle(rules, message, client, transport, out))
    }

    /// Completes a draft for `client` with the answer of the upstream servers, and signs it. `since` is the time when
    /// the question arrived. Returns `None` if there are no upstream servers any more.
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

    /// Returns whether a name is in one of the server's zones.
    fn is_ours(&self, name: &Name) -> bool {
        let mut wire = Vec::with_capacity(name.len() + 1);
        for label in name.iter() {
            wire.push(label.len() as u8);
            wire.extend(label.iter().map(u8::to_ascii_lowercase));
        }
        wire.push(0);
        !matches!(self.zones().find(&wire), Lookup::Outside)
    }

    /// Passes an update to the store. `send` gets the signed reply when the change is on the disk. `since` is the time
    /// when the update arrived.
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

    /// Loads a new `names.json`. Returns a summary for the log.
    ///
    /// # Errors
    /// The file is not valid. Then nothing changes.
    pub fn reload(&self) -> Result<String> {
        let names = load::read(&self.names)?;
        let zones = load::zones(&names, 1)?;
        let policy = AnswerPolicy::new(&names, &self.own, Some(&self.policy.load()), &self.audit, &self.metrics)?;
        let summary = summary(&names, &zones);
        self.policy.store(policy.into());
        let _ = self.jobs.send(StoreJob::Reload(Box::new(zones)));
        Ok(summary)
    }

    /// Loads a new file of keys. Returns a summary for the log.
    ///
    /// # Errors
    /// The file is not valid. Then nothing changes.
    pub fn reload_keys(&self, file: &Path) -> Result<String> {
        let keys = Keyring::read(file)?;
        let summary = format!("keys: {}", keys.len());
        self.keys.store(keys.into());
        Ok(summary)
    }
}

/// Returns a summary for the log.
pub fn summary(names: &Names, zones: &Zones) -> String {
    let (count, zones) = zones.counts();
    format!("`{}`, names: {count}, zones: {zones}, upstreams: {}", names.zone, names.upstreams.len())
}
