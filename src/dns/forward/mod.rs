//! What is not ours is asked at the upstreams, through hickory's resolver, and remembered in its cache as long as the TTL says.
//!
//! One resolver per upstream, and the fail-over is ours: hickory's pool ends at the first SERVFAIL or REFUSED, and spends
//! its whole time on a first server that is silent (hickory-resolver 0.26, `name_server_pool.rs`).

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hickory_server::{
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::{Message, Query, ResponseCode},
        rr::{Name, RData, Record, RecordType},
    },
    resolver::{
        ResponseCache, TokioResolver, TtlConfig,
        config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    },
};
use tokio::{sync::Semaphore, time::timeout};

use super::metrics::Metrics;
use crate::{Kind, OrError, Result};

/// All tries together; a client's resolver waits 5 s, and must hear SERVFAIL before it gives up.
const BUDGET: Duration = Duration::from_secs(4);
/// One try, where there is another upstream to go to.
const TRY: Duration = Duration::from_millis(1500);
/// What is under way when the budget is used up may end; then it is over.
const ALL: Duration = Duration::from_millis(4500);
// With half a second for the way to the client.
const _: () = assert!(BUDGET.as_millis() < ALL.as_millis() && ALL.as_millis() + 500 <= 5000);
/// For how long an upstream that was silent is asked last.
const REST: Duration = Duration::from_secs(10);
/// Answers that are remembered, as long as their TTL says.
const CACHE_SIZE: u64 = 16_384;
/// Questions under way at a time; more are answered SERVFAIL at once rather than queued.
const MAX_UNDER_WAY: usize = 2048;

/// Who is asked for what, and what they said.
pub struct Forwarder {
    /// The most special domain first; the root, where there are upstreams for everything, last.
    routes: Vec<Route>,
    cache: ResponseCache,
    started: Instant,
    under_way: Semaphore,
    metrics: Arc<Metrics>,
}

/// The upstreams of a domain, in the order of the workspace.
struct Route {
    domain: Name,
    upstreams: Vec<Upstream>,
}

struct Upstream {
    resolver: TokioResolver,
    /// Milliseconds since the start until which it is asked last; 0: it answers.
    rests_until: AtomicU64,
}

/// What the upstreams say.
struct Outcome {
    code: ResponseCode,
    answers: Vec<Record>,
    authorities: Vec<Record>,
}

impl Forwarder {
    /// A forwarder to `upstreams`, and for some domains to others.
    ///
    /// # Errors
    /// A domain is not a name.
    pub fn new(upstreams: &[SocketAddr], domains: &[(String, Vec<SocketAddr>)]) -> Result<Self> {
        let mut routes = Vec::new();
        for (domain, upstreams) in domains {
            let mut name = Name::from_ascii(domain)
                .or_error(Kind::Config, || format!("names.json: forward: `{domain}` is not a domain name"))?;
            name.set_fqdn(true);
            routes.push(Route { domain: name.to_lowercase(), upstreams: Upstream::all(upstreams)? });
        }
        if !upstreams.is_empty() {
            routes.push(Route { domain: Name::root(), upstreams: Upstream::all(upstreams)? });
        }
        routes.sort_by_key(|route| std::cmp::Reverse(route.domain.num_labels()));
        let cache = ResponseCache::new(CACHE_SIZE, TtlConfig::from_opts(&options(TRY)));
        Ok(Self {
            routes,
            cache,
            started: Instant::now(),
            under_way: Semaphore::new(MAX_UNDER_WAY),
            metrics: Arc::default(),
        })
    }

    /// Has what the cache knew and did not know counted there.
    pub fn counting_in(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// Completes a draft of [`super::answer`]: appends what the upstreams say about its question, or about the alias it ends
    /// in; cut to `limit` bytes. Always gives a reply, within 5 s.
    pub async fn complete(&self, draft: &[u8], limit: usize) -> Vec<u8> {
        // We wrote the draft: the only way it is unreadable to hickory is a type it will not carry.
        let Ok(mut message) = Message::from_vec(draft) else { return failed(draft) };
        let Some(query) = message.queries.first() else { return failed(draft) };
        let name = match message.answers.last().map(|r| &r.data) {
            Some(RData::CNAME(alias)) => alias.0.to_lowercase(),
            _ => query.name().to_lowercase(),
        };
        let outcome = self.resolve(&name, query.query_type()).await;
        message.metadata.response_code = outcome.code;
        message.add_answers(outcome.answers);
        message.add_authorities(outcome.authorities);
        match message.to_vec() {
            Ok(bytes) if bytes.len() <= limit => bytes,
            Ok(_) => truncated(&message).unwrap_or_else(|| failed(draft)),
            Err(_) => failed(draft),
        }
    }

    async fn resolve(&self, name: &Name, rtype: RecordType) -> Outcome {
        let query = Query::query(name.clone(), rtype);
        if let Some(known) = self.cache.get(&query, Instant::now()) {
            self.metrics.common().cache_hits.add(1);
            return Outcome::of(known.map(|message| message.answers)).unwrap_or_else(Outcome::servfail);
        }
        let Some(route) = self.routes.iter().find(|route| route.domain.zone_of(name)) else {
            // Only some domains are forwarded, and this is none of them.
            return Outcome { code: ResponseCode::Refused, ..Outcome::servfail() };
        };
        self.metrics.common().cache_misses.add(1);
        let Ok(_permit) = self.under_way.try_acquire() else { return Outcome::servfail() };
        let tries = async {
            for upstream in self.order(&route.upstreams) {
                if let Some(outcome) = self.ask(upstream, &query).await {
                    return outcome;
                }
            }
            Outcome::servfail()
        };
        timeout(ALL, tries).await.unwrap_or_else(|_| Outcome::servfail())
    }

    /// Those that answer first, each group in the given order. A rested one gets one question to show itself with: its
    /// next rest begins at once and ends with its answer.
    fn order<'a>(&self, upstreams: &'a [Upstream]) -> Vec<&'a Upstream> {
        let now = self.now();
        let rests = |u: &&Upstream| {
            let until = u.rests_until.load(Ordering::Relaxed);
            let probe = until != 0 && until <= now;
            let rest = now + REST.as_millis() as u64;
            let chosen =
                probe && u.rests_until.compare_exchange(until, rest, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            until != 0 && !chosen
        };
        let (last, mut first): (Vec<_>, Vec<_>) = upstreams.iter().partition(rests);
        first.extend(last);
        first
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64 + 1
    }

    /// `None`: it does not say, ask another.
    async fn ask(&self, upstream: &Upstream, query: &Query) -> Option<Outcome> {
        let result = upstream.resolver.lookup(query.name().clone(), query.query_type()).await;
        let silent = matches!(result, Err(NetError::Timeout | NetError::Io(_) | NetError::NoConnections));
        upstream.rests_until.store(if silent { self.now() + REST.as_millis() as u64 } else { 0 }, Ordering::Relaxed);
        let result = result.map(|lookup| lookup.message().clone());
        self.cache.insert(query.clone(), result.clone(), Instant::now());
        Outcome::of(result.map(|message| message.answers))
    }
}

impl Outcome {
    fn servfail() -> Self {
        Self { code: ResponseCode::ServFail, answers: Vec::new(), authorities: Vec::new() }
    }

    /// `None`: that is no answer.
    fn of(result: std::result::Result<Vec<Record>, NetError>) -> Option<Self> {
        match result {
            Ok(answers) => Some(Self { code: ResponseCode::NoError, answers, authorities: Vec::new() }),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
                let soa = none.soa.map(|soa| Record::from_rdata(soa.name, soa.ttl, RData::SOA(soa.data)));
                Some(Self { code: none.response_code, answers: Vec::new(), authorities: Vec::from_iter(soa) })
            }
            Err(_) => None,
        }
    }
}

impl Upstream {
    fn all(addresses: &[SocketAddr]) -> Result<Vec<Self>> {
        let count = addresses.len().max(1) as u32;
        let each = if count == 1 { BUDGET } else { TRY.min(BUDGET / count) };
        let one = |address: &SocketAddr| {
            let resolver = resolver(*address, each)
                .or_error(Kind::Host, || format!("cannot make a resolver for the upstream `{address}`"))?;
            Ok(Self { resolver, rests_until: AtomicU64::new(0) })
        };
        addresses.iter().map(one).collect()
    }
}

fn resolver(address: SocketAddr, each: Duration) -> std::result::Result<TokioResolver, NetError> {
    let connection = |mut c: ConnectionConfig| {
        c.port = address.port();
        c
    };
    let connections = vec![connection(ConnectionConfig::udp()), connection(ConnectionConfig::tcp())];
    let config = ResolverConfig::from_name_servers(vec![NameServerConfig::new(address.ip(), true, connections)]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options(each);
    builder.build()
}

fn options(each: Duration) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = each;
    options.attempts = 0;
    // Ours is one for all upstreams.
    options.cache_size = 0;
    options.num_concurrent_reqs = 1;
    options.max_active_requests = MAX_UNDER_WAY;
    options.use_hosts_file = ResolveHosts::Never;
    options
}

/// The draft's header and question with SERVFAIL, for what hickory cannot carry.
fn failed(draft: &[u8]) -> Vec<u8> {
    let mut out = draft.to_vec();
    if let Some(code) = out.get_mut(3) {
        *code = *code & 0xf0 | super::wire::rcode::SERVFAIL as u8;
    }
    out
}

/// Only header, question and OPT, with TC: ask over TCP.
fn truncated(message: &Message) -> Option<Vec<u8>> {
    let mut short = message.truncate();
    short.metadata = message.metadata;
    short.metadata.truncation = true;
    short.to_vec().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_upstream_is_asked_last_and_once_in_a_while_first() {
        let forwarder = Forwarder::new(&["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()], &[]).unwrap();
        let upstreams = &forwarder.routes[0].upstreams;
        let first = || std::ptr::eq(forwarder.order(upstreams)[0], &upstreams[0]);
        let rests_until = |at: u64| upstreams[0].rests_until.store(at, Ordering::Relaxed);
        assert!(first(), "both answer: the given order");
        rests_until(forwarder.now() + 5000);
        assert!(!first() && !first(), "it rests");
        rests_until(forwarder.now());
        assert!(first(), "its rest is over: one question finds out");
        assert!(!first(), "and only one");
        rests_until(0);
        assert!(first() && first(), "it answers again");
        assert_eq!(forwarder.order(upstreams).len(), 2);
    }
}
