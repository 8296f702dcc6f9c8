//! What is not ours is asked at the upstreams, through hickory's resolver and its cache (which goes by TTL).
//!
//! One resolver per upstream, and the fail-over is ours: hickory's pool ends at the first SERVFAIL or REFUSED, and spends
//! its whole time on a first server that is silent (hickory-resolver 0.26, `name_server_pool.rs`).

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use hickory_server::{
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::{Message, ResponseCode},
        rr::{Name, RData, Record, RecordType},
    },
    resolver::{
        TokioResolver,
        config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    },
};
use tokio::{sync::Semaphore, time::timeout};

use crate::{Kind, OrError, Result};

/// All tries together; a client's resolver waits 5 s, and must hear SERVFAIL before it gives up.
const BUDGET: Duration = Duration::from_secs(4);
/// One try, where there is another upstream to go to.
const TRY: Duration = Duration::from_millis(1500);
/// For how long an upstream that was silent is asked last.
const REST: Duration = Duration::from_secs(10);
/// Questions under way at a time; more are answered SERVFAIL at once rather than queued.
const MAX_UNDER_WAY: usize = 2048;

/// The upstreams, in the order of the workspace.
pub struct Forwarder {
    upstreams: Vec<Upstream>,
    started: Instant,
    under_way: Semaphore,
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
    /// A forwarder to `upstreams`, of which there is at least one.
    pub fn new(upstreams: &[SocketAddr]) -> Result<Self> {
        let count = upstreams.len().max(1) as u32;
        let each = if count == 1 { BUDGET } else { TRY.min(BUDGET / count) };
        let upstreams = upstreams.iter().map(|address| {
            let resolver = resolver(*address, each)
                .or_error(Kind::Host, || format!("cannot make a resolver for the upstream `{address}`"))?;
            Ok(Upstream { resolver, rests_until: AtomicU64::new(0) })
        });
        let upstreams = upstreams.collect::<Result<_>>()?;
        Ok(Self { upstreams, started: Instant::now(), under_way: Semaphore::new(MAX_UNDER_WAY) })
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
        let servfail = Outcome { code: ResponseCode::ServFail, answers: Vec::new(), authorities: Vec::new() };
        let Ok(_permit) = self.under_way.try_acquire() else { return servfail };
        let tries = async {
            for upstream in self.order() {
                if let Some(outcome) = self.ask(upstream, name, rtype).await {
                    return outcome;
                }
            }
            servfail
        };
        let late = Outcome { code: ResponseCode::ServFail, answers: Vec::new(), authorities: Vec::new() };
        timeout(BUDGET + TRY / 3, tries).await.unwrap_or(late)
    }

    /// Those that answer first, each group in the given order. A rested one gets one question to show itself with: its
    /// next rest begins at once and ends with its answer.
    fn order(&self) -> Vec<&Upstream> {
        let now = self.now();
        let rests = |u: &&Upstream| {
            let until = u.rests_until.load(Ordering::Relaxed);
            let probe = until != 0 && until <= now;
            let rest = now + REST.as_millis() as u64;
            let chosen =
                probe && u.rests_until.compare_exchange(until, rest, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            until != 0 && !chosen
        };
        let (last, mut first): (Vec<_>, Vec<_>) = self.upstreams.iter().partition(rests);
        first.extend(last);
        first
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64 + 1
    }

    /// `None`: it does not say, ask another.
    async fn ask(&self, upstream: &Upstream, name: &Name, rtype: RecordType) -> Option<Outcome> {
        let result = upstream.resolver.lookup(name.clone(), rtype).await;
        let silent = matches!(result, Err(NetError::Timeout | NetError::Io(_) | NetError::NoConnections));
        upstream.rests_until.store(if silent { self.now() + REST.as_millis() as u64 } else { 0 }, Ordering::Relaxed);
        match result {
            Ok(lookup) => {
                let answers = lookup.answers().to_vec();
                Some(Outcome { code: ResponseCode::NoError, answers, authorities: Vec::new() })
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
                let soa = none.soa.map(|soa| Record::from_rdata(soa.name, soa.ttl, RData::SOA(soa.data)));
                Some(Outcome { code: none.response_code, answers: Vec::new(), authorities: Vec::from_iter(soa) })
            }
            Err(_) => None,
        }
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
    options.cache_size = 16_384;
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
        let forwarder = Forwarder::new(&["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()]).unwrap();
        let first = || std::ptr::eq(forwarder.order()[0], &forwarder.upstreams[0]);
        let rests_until = |at: u64| forwarder.upstreams[0].rests_until.store(at, Ordering::Relaxed);
        assert!(first(), "both answer: the given order");
        rests_until(forwarder.now() + 5000);
        assert!(!first() && !first(), "it rests");
        rests_until(forwarder.now());
        assert!(first(), "its rest is over: one question finds out");
        assert!(!first(), "and only one");
        rests_until(0);
        assert!(first() && first(), "it answers again");
        assert_eq!(forwarder.order().len(), 2);
    }
}
